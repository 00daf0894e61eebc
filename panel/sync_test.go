package panel_test

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"heki/adapter"
	"heki/option"
	"heki/panel/paneltest"
)

func TestUsersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		for id := 1; id <= 4; id++ {
			b.panel.SetUser(paneltest.User{ID: id, SpeedMbps: 100})
		}
		b.start()
		defer b.stop()
		before := b.host.users(tag1)
		if len(before) != 4 {
			b.log.dump(t)
			t.Fatalf("serving %d users, want 4", len(before))
		}
		cut := make(map[int64]int)
		for id, u := range before {
			if _, err := u.Meter.Open(t.Context(), netip.MustParseAddr("192.0.2.1"), func() { cut[id]++ }); err != nil {
				t.Fatal(err)
			}
		}
		b.panel.RemoveUser(1)
		key := b.panel.Rekey(2)
		b.panel.SetUser(paneltest.User{ID: 3, UUID: b.panel.Users()[1].UUID, SpeedMbps: 7}) // users are sorted: that is 3
		b.panel.SetUser(paneltest.User{ID: 5})
		b.sync()

		after := b.host.users(tag1)
		if got, want := slices.Sorted(maps.Keys(after)), []int64{2, 3, 4, 5}; !slices.Equal(got, want) {
			t.Fatalf("serving %v, want %v", got, want)
		}
		if after[4] != before[4] {
			t.Error("the unchanged user is another *User")
		}
		if after[3].Meter != before[3].Meter || after[3].SpeedBytes != 875_000 {
			t.Errorf("new limit: %+v", after[3].Account)
		}
		if after[2].Meter == before[2].Meter || after[2].Password != key {
			t.Error("the new credential has the old meter")
		}
		if want := map[int64]int{1: 1, 2: 1}; !maps.Equal(cut, want) {
			t.Errorf("cut %v, want %v", cut, want)
		}
		for _, id := range []int64{1, 2} {
			if _, err := before[id].Meter.Open(t.Context(), netip.MustParseAddr("192.0.2.1"), nil); !errors.Is(err, adapter.ErrLimited) {
				t.Errorf("user %d still opens with the old meter: %v", id, err)
			}
		}
		if replaced, swaps := b.host.times(tag1); replaced != 1 || swaps != 1 {
			t.Errorf("replaced %d times, swapped %d times; want 1, 1", replaced, swaps)
		}
		b.sync()
		if _, swaps := b.host.times(tag1); swaps != 1 {
			t.Error("an unchanged answer swapped users")
		}
	})
}

func TestNodeChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.panel.SetUser(paneltest.User{ID: 2})
		b.start()
		defer b.stop()
		first := b.host.users(tag1)[1]
		row := paneltest.Node{
			ID: 1, Protocol: "trojan", Port: 443, Network: "ws", Path: "/x", TLS: 1, ServerName: "a.example.com",
			Routes: []paneltest.Route{{ID: 1, Match: []string{"domain:ads.example"}, Action: "block"}, {ID: 2, Match: []string{"x"}, Action: "dns"}},
		}
		b.panel.SetNode(row)
		b.sync()
		in := b.host.inbounds[tag1].opts
		o, ok := in.Options.(*option.Trojan)
		if !ok || in.Type != "trojan" || o.ListenPort != 443 || !o.TLS.Enabled || o.TLS.ServerName != "a.example.com" || o.Transport.Type != "ws" || o.Transport.Path != "/x" {
			t.Errorf("inbound = %+v", in)
		}
		if b.host.users(tag1)[1] != first {
			t.Error("users changed with the node")
		}
		if r, _ := b.host.times("panel/main/2"); r != 1 {
			t.Errorf("the other node was replaced %d times", r)
		}
		if got := b.host.rules[tag1]; !slices.Equal(got, []string{"domain:ads.example"}) {
			t.Errorf("rules = %q", got)
		}
		if b.log.count("route 2 (dns)") != 1 {
			t.Error("the action that is not served was not named once")
		}

		// The host refuses the next settings: the old inbound goes on, and loses the removed user.
		b.host.refuse[tag1] = errors.New("port 80: address already in use")
		row.Port = 80
		b.panel.SetNode(row)
		b.panel.RemoveUser(2)
		b.sync()
		if got := b.host.users(tag1); len(got) != 1 || b.host.inbounds[tag1].opts.Options.(*option.Trojan).ListenPort != 443 {
			t.Errorf("after a refusal: %d users", len(got))
		}
		if st := b.status(tag1); !strings.Contains(st.Err, "address already in use") {
			t.Errorf("status: %q", st.Err)
		}
		delete(b.host.refuse, tag1)
		b.sync() // without a new answer of the panel
		if got := b.host.inbounds[tag1].opts.Options.(*option.Trojan).ListenPort; got != 80 {
			t.Errorf("port = %d, want 80", got)
		}

		// Settings that cannot be served leave everything, and users still come and go.
		b.panel.SetRawConfig(1, `{"protocol":"tuic","server_port":1,"network":"tcp"}`)
		b.panel.SetUser(paneltest.User{ID: 9})
		b.sync()
		if got := b.host.users(tag1); len(got) != 2 || got[9] == nil {
			t.Errorf("users = %v", got)
		}
		if b.log.count("node 1 is tuic, which this version does not serve") == 0 {
			t.Error("the refusal was not told")
		}
	})
}

func TestSwapFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.start()
		defer b.stop()
		old := b.host.users(tag1)[1]
		b.host.inbounds[tag1].fail = errors.New("user 1: bad key")
		b.panel.Rekey(1)
		b.sync()
		if l, err := old.Meter.Open(t.Context(), netip.Addr{}, nil); err != nil {
			t.Errorf("the user in force was cut off: %v", err)
		} else {
			l.Up(5)
			l.Close()
		}
		b.host.inbounds[tag1].fail = nil
		b.sync()
		if _, err := old.Meter.Open(t.Context(), netip.Addr{}, nil); err == nil {
			t.Error("the old credential still opens")
		}
		b.move(tag1, 1, 3, 0)
		b.pass(2 * time.Minute)
		if got := b.panel.Traffic(1, 1).Up; got != 8 {
			t.Errorf("billed %d, want 8", got)
		}
	})
}

// TestEmptyUsersAtStart: the list of the last run is one that an empty list comes after.
func TestEmptyUsersAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.start()
		b.stop()
		b.panel.Fail(paneltest.Users, paneltest.EmptyUsers(), 1)
		b.start()
		if n := len(b.host.users(tag1)); n != 1 || b.log.count("no users instead of 1") != 1 {
			b.log.dump(t)
			t.Errorf("%d users are served after the first empty list", n)
		}
		b.panel.Fail(paneltest.Users, paneltest.EmptyUsers(), 2)
		b.sync()
		if n := len(b.host.users(tag1)); n != 0 {
			t.Errorf("%d users are served after the second", n)
		}
		b.stop()
		b.start() // the empty list is the last run's now
		defer b.stop()
		if users := b.host.users(tag1); users == nil || len(users) != 0 {
			t.Errorf("users are %v", users)
		}
	})
}

func TestEmptyUsersTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.start()
		defer b.stop()
		b.panel.Fail(paneltest.Users, paneltest.EmptyUsers(), 1)
		b.sync()
		if len(b.host.users(tag1)) != 1 || b.log.count("no users instead of 1") != 1 {
			t.Fatal("one empty answer cut everybody")
		}
		b.sync() // well again
		if len(b.host.users(tag1)) != 1 {
			t.Fatal("cut although the panel is well")
		}
		b.panel.RemoveUser(1)
		b.sync()
		if len(b.host.users(tag1)) != 1 {
			t.Fatal("the first of two empty answers cut")
		}
		b.sync() // a 304 is the second sighting
		if len(b.host.users(tag1)) != 0 {
			t.Error("two empty answers did not cut")
		}
	})
}
