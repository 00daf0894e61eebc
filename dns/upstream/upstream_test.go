package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testServer answers over UDP and TCP on one loopback port with handle.
func testServer(t *testing.T, handle dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	var stream net.Listener
	var packets net.PacketConn
	for range 20 { // the other protocol's port may be taken
		var err error
		if stream, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if packets, err = net.ListenPacket("udp", stream.Addr().String()); err == nil {
			break
		}
		stream.Close()
	}
	if packets == nil {
		t.Fatal("no port is free for both")
	}
	for _, s := range []*dns.Server{{Listener: stream, Handler: handle}, {PacketConn: packets, Handler: handle}} {
		started, ended := make(chan struct{}), make(chan error, 1)
		s.ReadTimeout, s.WriteTimeout = time.Minute, time.Minute // of 2 s
		s.NotifyStartedFunc = func() { close(started) }
		go func() { ended <- s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			_ = s.Shutdown()
			<-ended
		})
	}
	return stream.Addr().(*net.TCPAddr).AddrPort()
}

func overTCP(w dns.ResponseWriter) bool { return w.RemoteAddr().Network() == "tcp" }

func record(t testing.TB, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// zone answers from records, with NXDOMAIN for names that have none.
func zone(t testing.TB, lines ...string) dns.HandlerFunc {
	var all []dns.RR
	for _, line := range lines {
		all = append(all, record(t, line))
	}
	soa := record(t, "example. 300 IN SOA ns. root. 1 2 3 4 20")
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		name, known := q.Question[0].Name, false
		for _, rr := range all {
			if !strings.EqualFold(rr.Header().Name, name) {
				continue
			}
			known = true
			if _, alias := rr.(*dns.CNAME); alias {
				m.Answer = append(m.Answer, rr)
				name = rr.(*dns.CNAME).Target
			} else if rr.Header().Rrtype == q.Question[0].Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
		if !known {
			m.Rcode = dns.RcodeNameError
		}
		if len(m.Answer) == 0 {
			m.Ns = []dns.RR{soa}
		}
		_ = w.WriteMsg(m)
	}
}

func open(t *testing.T, address string) Server {
	t.Helper()
	s, err := New(address, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestLookup(t *testing.T) {
	at := testServer(t, zone(t,
		"a.example. 120 IN A 192.0.2.1", "a.example. 60 IN A 192.0.2.2", "a.example. 60 IN AAAA 2001:db8::1",
		"www.example. 30 IN CNAME b.example.", "b.example. 90 IN A 192.0.2.3",
		"v4.example. 60 IN A 192.0.2.4",
		"null.example. 60 IN A 0.0.0.0", "null.example. 60 IN AAAA ::",
		"mapped.example. 60 IN AAAA ::ffff:192.0.2.5",
		"loop.example. 60 IN CNAME loop.example.",
	))
	for _, scheme := range []string{"", "udp://", "tcp://"} {
		s := open(t, scheme+at.String())
		for _, tt := range []struct {
			name     string
			ipv6     bool
			want     []string
			ttl      time.Duration
			notFound bool
		}{
			{"a.example", false, []string{"192.0.2.1", "192.0.2.2"}, time.Minute, false},
			{"a.example", true, []string{"2001:db8::1"}, time.Minute, false},
			{"www.example", false, []string{"192.0.2.3"}, 30 * time.Second, false},
			{"v4.example", true, nil, 20 * time.Second, false},
			{"no.example", false, nil, 20 * time.Second, true},
			{"null.example", false, nil, silentTTL, false},
			{"null.example", true, nil, silentTTL, false},
			{"mapped.example", true, nil, silentTTL, false},
			{"loop.example", false, nil, silentTTL, false},
		} {
			a, err := s.Lookup(t.Context(), tt.name, tt.ipv6)
			if err != nil {
				t.Errorf("%s%s: %v", scheme, tt.name, err)
				continue
			}
			var got []string
			for _, addr := range a.Addrs {
				got = append(got, addr.String())
			}
			if !slices.Equal(got, tt.want) || a.TTL != tt.ttl || a.NotFound != tt.notFound {
				t.Errorf("%s%s ipv6 %v = %+v, want %v for %s, not found %v", scheme, tt.name, tt.ipv6, a, tt.want, tt.ttl, tt.notFound)
			}
		}
	}
}

func TestRcode(t *testing.T) {
	at := testServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetRcode(q, dns.RcodeServerFailure)
		m.Question = nil
		_ = w.WriteMsg(m)
	})
	_, err := open(t, at.String()).Lookup(t.Context(), "a.example", false)
	var code *RcodeError
	if !errors.As(err, &code) || code.Rcode != dns.RcodeServerFailure || !strings.Contains(err.Error(), "SERVFAIL") {
		t.Errorf("err = %v, want SERVFAIL", err)
	}
}

func TestWithoutEDNS(t *testing.T) {
	answer := zone(t, "a.example. 60 IN A 192.0.2.1")
	at := testServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() != nil {
			m := new(dns.Msg)
			m.SetRcode(q, dns.RcodeFormatError)
			_ = w.WriteMsg(m)
			return
		}
		answer(w, q)
	})
	if a, err := open(t, at.String()).Lookup(t.Context(), "a.example", false); err != nil || len(a.Addrs) != 1 {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestTruncatedGoesToTCP(t *testing.T) {
	answer := zone(t, "a.example. 60 IN A 192.0.2.1", "a.example. 60 IN A 192.0.2.2")
	var viaTCP atomic.Int32
	at := testServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if overTCP(w) {
			viaTCP.Add(1)
			answer(w, q)
			return
		}
		m := new(dns.Msg)
		m.SetReply(q)
		m.Truncated = true
		m.Answer = []dns.RR{record(t, "a.example. 60 IN A 192.0.2.1")}
		_ = w.WriteMsg(m)
	})
	if a, err := open(t, at.String()).Lookup(t.Context(), "a.example", false); err != nil || len(a.Addrs) != 2 || viaTCP.Load() != 1 {
		t.Errorf("got %+v, %v, %d over tcp", a, err, viaTCP.Load())
	}
}

// TestForgeriesAreIgnored: wrong ids, other questions, queries and noise come before the answer.
func TestForgeriesAreIgnored(t *testing.T) {
	at := testServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		fake := func(change func(*dns.Msg)) {
			m := new(dns.Msg)
			m.SetReply(q)
			m.Answer = []dns.RR{record(t, q.Question[0].Name+" 60 IN A 203.0.113.66")}
			change(m)
			_ = w.WriteMsg(m)
		}
		fake(func(m *dns.Msg) { m.Id++ })
		fake(func(m *dns.Msg) { m.Response = false })
		fake(func(m *dns.Msg) { m.Question[0].Name = "other.example." })
		fake(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT })
		fake(func(m *dns.Msg) { m.Question = nil })
		_, _ = w.Write([]byte("noise"))
		fake(func(m *dns.Msg) { m.Answer = []dns.RR{record(t, "a.example. 60 IN A 192.0.2.1")} })
	})
	a, err := open(t, at.String()).Lookup(t.Context(), "a.example", false)
	if err != nil || !slices.Equal(a.Addrs, []netip.Addr{netip.MustParseAddr("192.0.2.1")}) {
		t.Errorf("got %+v, %v", a, err)
	}
}

// TestLostDatagram: the first query is lost, the second is answered.
func TestLostDatagram(t *testing.T) {
	answer := zone(t, "a.example. 60 IN A 192.0.2.1")
	var queries atomic.Int32
	at := testServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if queries.Add(1) > 1 {
			answer(w, q)
		}
	})
	if a, err := open(t, at.String()).Lookup(t.Context(), "a.example", false); err != nil || len(a.Addrs) != 1 {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestSilentServer(t *testing.T) {
	asked := make(chan struct{}, 8)
	at := testServer(t, func(dns.ResponseWriter, *dns.Msg) { asked <- struct{}{} })
	for _, scheme := range []string{"udp://", "tcp://"} {
		s := open(t, scheme+at.String())
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("enough")
		done := make(chan error, 1)
		go func() {
			_, err := s.Lookup(ctx, "a.example", false)
			done <- err
		}()
		<-asked
		cancel(reason)
		if err := <-done; !errors.Is(err, reason) {
			t.Errorf("%s err = %v, want the reason", scheme, err)
		}
	}
}

func TestRefusedPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	for _, scheme := range []string{"udp://", "tcp://"} {
		if _, err := open(t, scheme+addr).Lookup(t.Context(), "a.example", false); err == nil {
			t.Errorf("%s answered without a server", scheme)
		}
	}
}

func TestNew(t *testing.T) {
	for _, tt := range []struct{ in, kind, at string }{
		{"system", "*upstream.system", ""},
		{"8.8.8.8", "*upstream.udp", "8.8.8.8:53"},
		{"8.8.8.8:553", "*upstream.udp", "8.8.8.8:553"},
		{"dns.google:553", "*upstream.udp", "dns.google:553"},
		{"tcp://[2001:db8::1]:553", "*upstream.tcp", "[2001:db8::1]:553"},
		{"tcp-tls://dns.google", "*upstream.tcp", "dns.google:853"},
		{"https://8.8.8.8/dns-query", "*upstream.https", "https://8.8.8.8/dns-query"},
		{"https://[::1]:8443/a%2Fb?k=1", "*upstream.https", "https://[::1]:8443/a%2Fb?k=1"},
		{"quic://dns.adguard.com", "*upstream.doq", "dns.adguard.com:853"},
		{"h3://dns.google", "*upstream.h3", "https://dns.google/dns-query"},
	} {
		s, err := New(tt.in, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		var at string
		switch s := s.(type) {
		case *udp:
			at = s.at.authority()
		case *tcp:
			at = s.at.authority()
			if secure := strings.HasPrefix(tt.in, "tcp-tls"); secure != (s.secure != nil) {
				t.Errorf("%s: TLS %v", tt.in, !secure)
			}
		case *https:
			at = s.url.String()
		case *doq:
			at = s.at.authority()
		case *h3:
			at = s.url.String()
		}
		if kind := fmt.Sprintf("%T", s); kind != tt.kind || at != tt.at {
			t.Errorf("%s is a %s at %s, want a %s at %s", tt.in, kind, at, tt.kind, tt.at)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "8.8.8.8:0", "a b", "http://8.8.8.8", "https://a/b c"} {
		if _, err := New(bad, nil); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestSystem needs no network: localhost is in /etc/hosts, or the resolver knows it.
func TestSystem(t *testing.T) {
	a, err := open(t, "system").Lookup(t.Context(), "localhost", false)
	if err != nil || len(a.Addrs) == 0 || !a.Addrs[0].IsLoopback() {
		t.Errorf("localhost = %+v, %v", a, err)
	}
	if a, err := open(t, "system").Lookup(t.Context(), "localhost", true); err != nil || len(a.Addrs) > 0 && !a.Addrs[0].IsLoopback() {
		t.Errorf("localhost over IPv6 = %+v, %v", a, err)
	}
}

// TestEndpointByHost: the system finds the server, and its address is kept.
func TestEndpointByHost(t *testing.T) {
	at := testServer(t, zone(t, "a.example. 60 IN A 192.0.2.1"))
	e := &endpoint{host: "localhost", port: at.Port(), find: FindBySystem}
	u := newUDP(e)
	defer u.Close()
	if a, err := u.Lookup(t.Context(), "a.example", false); err != nil && !e.found[0].Is6() || err == nil && len(a.Addrs) != 1 {
		t.Errorf("got %+v, %v", a, err)
	}
	if _, fresh := e.current(); !fresh {
		t.Error("the address was not kept")
	}
	e.host, e.expires = "no-such-host.invalid", time.Now()
	if addr, err := e.resolve(t.Context()); err != nil || !addr.IsLoopback() {
		t.Errorf("without the system: %s, %v, want the last address", addr, err)
	}
}
