package route

import (
	"context"
	"errors"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/option"
)

// lent is an outbound that may be out of service, with what its users did.
type lent struct {
	*pipeOutbound
	closed   bool
	released chan struct{}
}

func (l *lent) Take() bool { return !l.closed }
func (l *lent) Release()   { l.released <- struct{}{} }

// TestPanelOutbounds: a node's own outbound goes before the configuration's of the same tag, only for that
// node, and is held until the connection has ended.
func TestPanelOutbounds(t *testing.T) {
	outs := set{"direct": newPipeOutbound("direct"), "x": newPipeOutbound("x")}
	own := &lent{newPipeOutbound("x"), false, make(chan struct{}, 1)}
	r := newRouter(t, option.Route{}, outs)
	err := r.SetPanelRules("in", []PanelRule{
		{ID: 1, Lines: []string{"domain:own.test"}, Outbound: "x", Via: own},
		{ID: 2, Lines: []string{"domain:shared.test"}, Outbound: "x"},
		{ID: 3, Lines: []string{"domain:gone.test"}, Outbound: "gone"},
		{ID: 4, Lines: []string{"domain:broken.test"}, Outbound: "x", Broken: "no such cipher"},
		{ID: 5, Lines: []string{"#"}, Outbound: "x"},
	}, &PanelRule{ID: 6, Outbound: "direct"})
	if err != nil {
		t.Fatal(err)
	}
	for dst, want := range map[string]*pipeOutbound{
		"own.test:80": own.pipeOutbound, "shared.test:80": outs["x"], "other.test:80": outs["direct"],
	} {
		c := start(t, r, dst)
		remote := <-want.remotes
		if want == own.pipeOutbound && len(own.released) != 0 {
			t.Error("released while it is used")
		}
		remote.Close()
		c.client.Close()
		c.end(t)
	}
	<-own.released
	for dst, want := range map[string]string{"gone.test:80": `no outbound "gone"`, "broken.test:80": "no such cipher"} {
		if err := start(t, r, dst).end(t); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: err = %v, want %q", dst, err, want)
		}
	}
	own.closed = true
	if err := start(t, r, "own.test:80").end(t); err == nil || !strings.Contains(err.Error(), "is closed") {
		t.Errorf("err = %v of an outbound that is closed", err)
	}
}

// leaving is a configuration's outbounds that are taken out of service by a reload, right after it was asked.
type leaving struct {
	*lent
	reload func()
}

func (l *leaving) Get(string) adapter.Outbound { return l }

func (l *leaving) Take() bool {
	l.reload()
	return false
}

// TestReloadMeanwhile: a connection that finds its outbound closed goes by the rules that are in force now.
func TestReloadMeanwhile(t *testing.T) {
	next := newPipeOutbound("next")
	r := newRouter(t, option.Route{}, set{"direct": newPipeOutbound("direct")})
	old := &leaving{lent: &lent{pipeOutbound: newPipeOutbound("old")}}
	old.reload = func() {
		if err := r.Reload(option.Route{}, set{"direct": next}); err != nil {
			t.Error(err)
		}
	}
	if err := r.Reload(option.Route{}, old); err != nil {
		t.Fatal(err)
	}
	c := start(t, r, "a.test:80")
	(<-next.remotes).Close()
	c.client.Close()
	c.end(t)
}

// TestPanelPackets: a session goes out as its first destination says; a destination that could only have gone
// out by what is broken is dropped, also when that is news.
func TestPanelPackets(t *testing.T) {
	outs := set{"direct": newPipeOutbound("direct")}
	own := &lent{newPipeOutbound("x"), false, make(chan struct{}, 1)}
	r := newRouter(t, option.Route{}, outs)
	rules := []PanelRule{{ID: 1, Lines: []string{"ip:192.0.2.0/24"}, Outbound: "x", Via: own}}
	if err := r.SetPanelRules("in", rules, nil); err != nil {
		t.Fatal(err)
	}
	client := newPacketPipe()
	done := make(chan error, 1)
	go func() {
		done <- r.RoutePacketConn(context.Background(), client, metadata("192.0.2.1:1000", new(meter)))
	}()
	one, two := M.ParseSocksaddr("192.0.2.1:1000"), M.ParseSocksaddr("203.0.113.1:1000")
	client.in <- datagram{"1", one}
	remote := <-own.packets
	client.in <- datagram{"2", two}
	for _, want := range []string{"1", "2"} {
		if d := <-remote.out; d.text != want {
			t.Errorf("got %q, want %q", d.text, want)
		}
	}
	rules = append(rules, PanelRule{ID: 2, Lines: []string{"ip:203.0.113.0/24"}, Broken: "no more"})
	if err := r.SetPanelRules("in", rules, nil); err != nil {
		t.Fatal(err)
	}
	client.in <- datagram{"dropped", two}
	client.in <- datagram{"3", one}
	if d := <-remote.out; d.text != "3" {
		t.Errorf("got %q, want the packet after the dropped one", d.text)
	}
	client.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-own.released
}

// TestPanelHits: who meets a block rule is told of, who meets a broken route is not.
func TestPanelHits(t *testing.T) {
	r := newRouter(t, option.Route{}, set{"direct": newPipeOutbound("direct")})
	var hits []int64
	r.OnHit(func(_ *adapter.Metadata, id int64) { hits = append(hits, id) })
	err := r.SetPanelRules("in", []PanelRule{
		{ID: 1, Lines: []string{"domain:bad.test"}},
		{ID: 2, Lines: []string{"domain:a.test"}, And: [][]string{{"port:80"}, {"network:udp"}}},
		{ID: 3, Lines: []string{"domain:a.test"}, And: [][]string{{"port:80"}}, Outbound: "x", Broken: "broken"},
		{ID: 4, Lines: []string{"*"}, And: [][]string{{"regexp:("}}},
	}, nil)
	if err == nil || !strings.Contains(err.Error(), "regexp") {
		t.Errorf("err = %v, want the bad line", err)
	}
	for _, dst := range []string{"bad.test:1", "a.test:80"} {
		if err := start(t, r, dst).end(t); !errors.Is(err, ErrDenied) {
			t.Errorf("%s: err = %v", dst, err)
		}
	}
	if len(hits) != 1 || hits[0] != 1 {
		t.Errorf("hits are %v, want rule 1", hits)
	}
}
