package inbound_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"heki/inbound/inboundtest"
	"heki/option"
	"heki/transport"
)

// shared are the transports on whose connections there are many streams.
var shared = map[string]*option.Transport{
	"http": {Type: "http", Path: "/in"},
	"grpc": {Type: "grpc", ServiceName: "in"},
}

// dialing returns a dialer whose connections lead to s.
func dialing(t *testing.T, s *inboundtest.Server, o *option.Transport) transport.Dialer {
	t.Helper()
	d, err := transport.NewDialer(o, "heki.test", false, func(context.Context) (net.Conn, error) { return s.Dial(t), nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// half is a stream that can end one way.
type half interface {
	net.Conn
	CloseWrite() error
}

// streamOf opens a stream and bounds the wait for it: far less than the 10 s without an option.
func streamOf(t *testing.T, d transport.Dialer, first string) half {
	t.Helper()
	c, err := d.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, first); err != nil {
		t.Fatal(err)
	}
	return c.(half)
}

// Streams that share a connection have the inbound's handshake_timeout each, and lose it when they are
// users'.
func TestStreamsHaveTheirOwnDeadline(t *testing.T) {
	for name, o := range shared {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stream := inboundtest.Waiting(2 * time.Second)
			stream.Transport = o
			s := inboundtest.Start(t, protocol, stream, 1)
			d := dialing(t, s, o)
			dst := server(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
			header := string(protocol.Header(protocol.Account(0), dst))
			user := streamOf(t, d, header+"one")
			same(t, user, "one")
			for _, said := range []string{"", header[:20], strings.Repeat("x", 60)} {
				if got, err := io.ReadAll(streamOf(t, d, said)); err != nil || len(got) > 0 {
					t.Errorf("after %q: got %q, %v", said, got, err)
				}
			}
			if _, err := io.WriteString(user, "two"); err != nil { // longer than handshake_timeout later
				t.Fatal(err)
			}
			same(t, user, "two")
		})
	}
}

// One way of a stream ends, and the other one goes on.
func TestHalfCloseOfStreams(t *testing.T) {
	for name, o := range shared {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stream := inboundtest.Waiting(time.Minute)
			stream.Transport = o
			s := inboundtest.Start(t, protocol, stream, 1)
			d := dialing(t, s, o)
			up := server(t, func(c *net.TCPConn) {
				all, _ := io.ReadAll(c)
				_, _ = io.WriteString(c, "heard "+string(all))
			})
			c := streamOf(t, d, string(protocol.Header(protocol.Account(0), up))+"it")
			_ = c.CloseWrite()
			if got, err := io.ReadAll(c); string(got) != "heard it" || err != nil {
				t.Errorf("after our end: %q, %v", got, err)
			}
			heard := make(chan string, 1)
			down := server(t, func(c *net.TCPConn) {
				_, _ = io.WriteString(c, "bye")
				_ = c.CloseWrite()
				all, _ := io.ReadAll(c)
				heard <- string(all)
			})
			c = streamOf(t, d, string(protocol.Header(protocol.Account(0), down)))
			same(t, c, "bye")
			if _, err := io.WriteString(c, "still here"); err != nil {
				t.Fatal(err)
			}
			_ = c.CloseWrite()
			if got := <-heard; got != "still here" {
				t.Errorf("after its end the remote read %q", got)
			}
		})
	}
}

// same wants text from c.
func same(t *testing.T, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v; want %q", got, err, text)
	}
}

// server handles each connection on a free port, whose address it returns, and closes it.
func server(t *testing.T, handle func(c *net.TCPConn)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			handle(c.(*net.TCPConn))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr()
}
