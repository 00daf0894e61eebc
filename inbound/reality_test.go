package inbound_test

import (
	"io"
	"net"
	"testing"
	"time"

	"heki/inbound/inboundtest"
	"heki/option"
)

// withReality returns TLS options whose target is a listener that the caller serves.
func withReality(t testing.TB) (*option.TLS, net.Listener) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &option.TLS{Enabled: true, Reality: &option.Reality{
		Enabled:     true,
		Handshake:   option.RealityTarget{Server: "127.0.0.1", ServerPort: uint16(l.Addr().(*net.TCPAddr).Port)},
		PrivateKey:  "UuMBgl7MXTPx9inmQp2UC7Jcnwc6XYbwDNebonM-FCc",
		ServerNames: option.Listable[string]{"www.example.com"},
	}}, l
}

// A stranger's conversation with the target outlives the handshake timeout, and neither its silence nor
// the target's holds up the end of the inbound.
func TestStrangersMeetRealitysTarget(t *testing.T) {
	o, l := withReality(t)
	s := inboundtest.Start(t, protocol, option.Stream{TLS: o}, 1)
	c := s.Dial(t)
	io.WriteString(c, "GET / HTTP/1.1\r\n")
	remote, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	got := make([]byte, 16)
	if _, err := io.ReadFull(remote, got); err != nil || string(got) != "GET / HTTP/1.1\r\n" {
		t.Fatalf("the target got %q, %v", got, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Second)) // twice the timeout
	if _, err := c.Read(got); err == nil {
		t.Error("something was answered")
	}
	_ = c.SetReadDeadline(time.Time{})
	io.WriteString(remote, "HTTP/1.1 400 \r\n\r\n")
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "HTTP/1.1 400 \r\n\r" {
		t.Fatalf("the stranger got %q, %v", got, err)
	}
	if err := s.Inbound.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("the stranger's end: %v", err)
	}
	if _, err := io.Copy(io.Discard, remote); err != nil {
		t.Errorf("the target's end: %v", err)
	}
}

// The target of a client behind a balancer gets what the balancer's header hid.
func TestRealityBehindAPROXYHeader(t *testing.T) {
	o, l := withReality(t)
	o.Reality.Handshake.Xver = 1
	s := inboundtest.Start(t, protocol, option.Stream{TLS: o, Listen: option.Listen{ProxyProtocol: option.ProxyRequired}}, 1)
	c := s.Dial(t)
	defer c.Close()
	io.WriteString(c, "PROXY TCP4 203.0.113.9 192.0.2.1 5000 443\r\nhello")
	remote, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	const start = "PROXY TCP4 203.0.113.9 127.0.0.1 5000 "
	got := make([]byte, len(start))
	if _, err := io.ReadFull(remote, got); err != nil || string(got) != start {
		t.Errorf("the target got %q, %v", got, err)
	}
}
