package reality

import (
	stdtls "crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/proxyproto"
)

// The target learns who asks.
func TestXver(t *testing.T) {
	for xver := 1; xver <= 2; xver++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o := newOptions(t, l.Addr().String())
		o.Reality.Handshake.Xver = xver
		h := start(t, o)
		c := h.raw(t)
		_, _ = c.Write([]byte("GET"))
		remote, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		want := proxyproto.AppendV1(nil, proxyproto.Header{Source: netio.AddrPort(c.LocalAddr()), Destination: netio.AddrPort(c.RemoteAddr())})
		if xver == 2 {
			want = proxyproto.AppendV2(nil, proxyproto.Header{Source: netio.AddrPort(c.LocalAddr()), Destination: netio.AddrPort(c.RemoteAddr())})
		}
		got := make([]byte, len(want)+3)
		if _, err := io.ReadFull(remote, got); err != nil || string(got) != string(want)+"GET" {
			t.Errorf("xver %d: got %q, %v", xver, got, err)
		}
		_, _, _ = remote.Close(), l.Close(), c.Close()
		<-h.results
	}
}

// A target that cannot be imitated shows itself to users, and is reported once.
func TestBadTarget(t *testing.T) {
	for _, tt := range []struct {
		name, report string
		config       *stdtls.Config
	}{
		{"TLS 1.2", "does not speak TLS 1.3", &stdtls.Config{MaxVersion: stdtls.VersionTLS12}},
		{"P-256", "HelloRetryRequest", &stdtls.Config{CurvePreferences: []stdtls.CurveID{stdtls.CurveP384}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			site := newTarget(t, func(s *httptest.Server) { s.TLS = tt.config })
			h := start(t, newOptions(t, site.Listener.Addr().String()))
			for range 2 {
				if _, err := h.connect(t, user{}); err == nil {
					t.Error("the handshake worked")
				}
				if err := <-h.results; !errors.Is(err, ErrTarget) || !errors.Is(err, ErrStranger) {
					t.Errorf("server: %v", err)
				}
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.reported) != 1 || !strings.Contains(h.reported[0].Error(), tt.report) {
				t.Errorf("reported %v", h.reported)
			}
		})
	}
}

// While the target is down or silent a user waits no longer than the timeouts.
func TestTargetDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := newOptions(t, l.Addr().String())
	o.HandshakeTimeout = option.Duration(2 * time.Second)
	h := start(t, o)
	if _, err := h.connect(t, user{}); err == nil { // the target accepts and says nothing
		t.Error("the handshake worked")
	}
	if err := <-h.results; !errors.Is(err, ErrTarget) || errors.Is(err, ErrStranger) {
		t.Errorf("silent: %v", err)
	}
	_ = l.Close()
	if _, err := h.connect(t, user{}); err == nil {
		t.Error("the handshake worked")
	}
	if err := <-h.results; !errors.Is(err, ErrTarget) {
		t.Errorf("down: %v", err)
	}
}

// A client that never finishes its ClientHello stays with the target.
func TestSlowHello(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := newOptions(t, l.Addr().String())
	o.HandshakeTimeout = option.Duration(500 * time.Millisecond)
	h := start(t, o)
	c := h.raw(t)
	_, _ = c.Write([]byte{22, 3, 1})
	remote, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 3)
	if _, err := io.ReadFull(remote, got); err != nil {
		t.Fatal(err)
	}
	for h.relays.len() == 0 { // the timeout makes a relay of it
		select {
		case err := <-h.results:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	_, _ = remote.Write([]byte("late answer"))
	_ = remote.Close()
	if got, err := io.ReadAll(c); string(got) != "late answer" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	_ = c.Close()
	if err := <-h.results; !errors.Is(err, errHandshakeEnd) {
		t.Errorf("server: %v", err)
	}
}

// A target that speaks first is heard at once.
func TestTargetFirst(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "SSH-2.0-x\r\n")
		_ = c.Close()
	}()
	h := start(t, newOptions(t, l.Addr().String()))
	c := h.raw(t)
	if got, err := io.ReadAll(c); string(got) != "SSH-2.0-x\r\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	_ = c.Close()
	if err := <-h.results; !errors.Is(err, errTargetFirst) {
		t.Errorf("server: %v", err)
	}
}

// A server that closes with unread data resets the connection: so does heki, before the target has said
// anything and after it.
func TestTargetResets(t *testing.T) {
	for name, says := range map[string]string{"at once": "", "after an alert": "\x15\x03\x03\x00\x02\x02\x0a"} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			h := start(t, newOptions(t, l.Addr().String()))
			c := h.raw(t)
			_, _ = c.Write([]byte("noise"))
			remote, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(remote, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(remote, says)
			if _, err := io.ReadFull(c, make([]byte, len(says))); err != nil {
				t.Fatal(err)
			}
			_ = remote.(*net.TCPConn).SetLinger(0)
			_ = remote.Close()
			if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client sees %v", err)
			}
			if err := <-h.results; !errors.Is(err, ErrStranger) || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("server: %v", err)
			}
		})
	}
}

// More strangers than there is room for end the oldest; a user still gets in.
func TestCrowded(t *testing.T) {
	h := start(t, newOptions(t, newTarget(t, nil).Listener.Addr().String()))
	h.handshakes.setMax(2)
	var waiting []net.Conn
	for range 4 {
		c := h.raw(t)
		_, _ = c.Write([]byte{22, 3, 1}) // not yet a stranger
		waiting = append(waiting, c)
	}
	for range 2 {
		if err := <-h.results; err == nil {
			t.Error("a handshake worked")
		}
	}
	c, err := h.connect(t, user{})
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, c)
	for _, c := range waiting {
		_ = c.Close()
	}
}

func (s *slots) setMax(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.max = n
}

// The name of the target is asked for once a minute, and an address outlives the name servers.
func TestTargetByName(t *testing.T) {
	site := newTarget(t, nil)
	o := newOptions(t, site.Listener.Addr().String())
	o.Reality.Handshake.Server = "localhost"
	s, err := New(o, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	client, _ := tcpPair(t)
	defer client.Close()
	reach := func() error {
		remote, err := s.dial(t.Context(), client)
		if err == nil {
			_ = remote.Close()
		}
		return err
	}
	if err := reach(); err != nil {
		t.Fatal(err)
	}
	good := s.last.Load()
	if good == nil || good.text != site.Listener.Addr().String() {
		t.Fatalf("remembered %+v", good)
	}
	name := s.target
	s.target = "no name:443"
	if err := reach(); err != nil {
		t.Errorf("a moment later: %v", err)
	}
	s.last.Store(&address{good.text, time.Now().Add(-time.Hour)})
	if err := reach(); err != nil {
		t.Errorf("without name servers: %v", err)
	}
	s.target = name
	s.last.Store(&address{"127.0.0.1:1", time.Now()})
	if err := reach(); err != nil || s.last.Load().text != good.text {
		t.Errorf("moved: %v, %+v", err, s.last.Load())
	}
	s.last.Store(&address{"127.0.0.1:1", time.Now().Add(-time.Hour)})
	if err := reach(); err != nil || s.last.Load().text != good.text {
		t.Errorf("moved long ago: %v, %+v", err, s.last.Load())
	}
	s.target = "no name:443"
	s.last.Store(&address{"127.0.0.1:1", time.Now()})
	if err := reach(); !errors.Is(err, ErrTarget) {
		t.Errorf("nobody: %v", err)
	}
}
