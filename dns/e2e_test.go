package dns

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	codec "github.com/miekg/dns"

	"heki/option"
)

// TestOverUDP asks a real server on loopback, behind one that is not there.
func TestOverUDP(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	started, ended := make(chan struct{}), make(chan error, 1)
	s := &codec.Server{PacketConn: conn, NotifyStartedFunc: func() { close(started) }, Handler: codec.HandlerFunc(func(w codec.ResponseWriter, q *codec.Msg) {
		m := new(codec.Msg)
		m.SetReply(q)
		text := q.Question[0].Name + " 60 IN A 192.0.2.1"
		if q.Question[0].Qtype == codec.TypeAAAA {
			text = q.Question[0].Name + " 60 IN AAAA 2001:db8::1"
		}
		if rr, err := codec.NewRR(text); err == nil {
			m.Answer = []codec.RR{rr}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { ended <- s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		_ = s.Shutdown()
		<-ended
	})
	c, err := New(option.DNS{
		Servers: []option.DNSServer{{Tag: "gone", Address: "tcp://" + gone.Addr().String()}, {Tag: "here", Address: conn.LocalAddr().String()}},
		Cache:   option.DNSCache{TTL: option.Duration(time.Minute), Size: 16},
	}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, c)
	for i := 0; ; i++ { // of a name whose second answer is 300 ms late there is but one address
		name := fmt.Sprintf("Example%d.org", i)
		if got, err := c.Lookup(t.Context(), "", name); err != nil || i == 100 {
			t.Fatalf("%s: %v, %v", name, got, err)
		} else if len(got) == 2 {
			mustLookup(t, c, strings.ToLower(name), addr4, addr6)
			return
		}
	}
}
