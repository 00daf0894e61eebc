package singmux

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire/wiretest"
)

// Close from anywhere ends a read and a write that wait: this is how a kick cuts a stream.
func TestCloseWakes(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		done := make(chan struct{})
		c := serve(t, h, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			var wg sync.WaitGroup
			wg.Go(func() { io.Copy(io.Discard, conn) })
			var wrote atomic.Int64
			wg.Go(func() {
				for {
					n, err := conn.Write(make([]byte, 64<<10))
					wrote.Add(int64(n))
					if err != nil {
						return
					}
				}
			})
			for last := int64(-1); wrote.Load() != last; { // until the client's windows are full
				last = wrote.Load()
				time.Sleep(50 * time.Millisecond)
			}
			conn.Close()
			if h.Protocol == ProtocolSmux { // its writer waits for the connection, which its client does not read
				close(done)
				wg.Wait()
				return
			}
			wg.Wait()
			close(done)
		}}})
		conn := c.stream(tcpRequest, "")
		expect(t, conn, "\x00")
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Error("the handler hangs")
		}
	})
}

// The end of the connection, and of ctx, ends the streams, whatever they do.
func TestEnds(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		for name, end := range map[string]func(c *client){
			"client": func(c *client) { c.conn.Close() },
			"ctx":    func(c *client) { c.cancel() },
		} {
			open := make(chan struct{}, 3)
			c := serve(t, h, Options{Handler: handler{
				stream: func(ctx context.Context, conn net.Conn, dst M.Socksaddr) {
					open <- struct{}{}
					echo.stream(ctx, conn, dst)
				},
				packet: func(ctx context.Context, conn N.PacketConn, dst M.Socksaddr) {
					open <- struct{}{}
					hold.packet(ctx, conn, dst)
				},
			}})
			c.stream(tcpRequest, "")
			c.stream(Request{UDP: true, Destination: tcpRequest.Destination}, "")
			<-open
			<-open
			end(c)
			select {
			case err := <-c.result:
				if want := (name == "ctx"); errors.Is(err, context.Canceled) != want {
					t.Errorf("%s: err = %v", name, err)
				}
				c.result <- err
			case <-time.After(time.Minute):
				t.Errorf("%s: Serve does not return", name)
			}
		}
	})
}

func answered(conn net.Conn) bool {
	_, err := io.ReadFull(conn, make([]byte, 2))
	return err == nil
}

func TestMaxStreams(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		c := serve(t, h, Options{Handler: echo, MaxStreams: 3})
		var open []net.Conn
		for range 3 {
			conn := c.stream(tcpRequest, "x")
			expect(t, conn, "\x00x")
			open = append(open, conn)
		}
		more, err := c.open()
		if h.Protocol == ProtocolHTTP2 { // its clients know the bound, and want a second connection
			if err == nil {
				t.Error("a fourth stream was opened")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if n, err := more.Read(make([]byte, 1)); err == nil {
			t.Errorf("a fourth stream read %d bytes", n)
		}
		more.Close()
		open[0].Close()
		var again net.Conn
		for range 5000 { // the place is free once the handler has returned
			if conn, err := c.open(); err == nil {
				defer conn.Close()
				if conn.Write(append(AppendRequest(nil, tcpRequest), 'x')); answered(conn) {
					again = conn
					break
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		if again == nil {
			t.Error("no place is given back")
		}
		if _, err := io.WriteString(open[1], "y"); err != nil {
			t.Error(err)
		}
		expect(t, open[1], "y")
	})
}

func TestIdle(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		c := serve(t, h, Options{Handler: echo, IdleTimeout: 50 * time.Millisecond})
		select {
		case err := <-c.result:
			if err != nil {
				t.Error(err)
			}
			c.result <- nil
		case <-time.After(time.Minute):
			t.Error("an idle connection is kept")
		}
		c = serve(t, h, Options{Handler: echo, IdleTimeout: time.Second})
		conn := c.stream(tcpRequest, "x")
		expect(t, conn, "\x00x")
		time.Sleep(1500 * time.Millisecond)
		io.WriteString(conn, "y")
		expect(t, conn, "y")
	})
}

func TestBrutal(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		c := serve(t, h, Options{Handler: handler{stream: func(context.Context, net.Conn, M.Socksaddr) { t.Error("routed") }}})
		conn := c.stream(Request{Destination: M.Socksaddr{Fqdn: brutalHost}}, "\x00\x00\x00\x00\x00\x01\x00\x00")
		got, err := io.ReadAll(conn)
		if want := "\x00\x00\x19brutal is not served here"; string(got) != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	})
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		in  string
		opt Options
		err error
	}{
		{"", Options{}, nil},
		{"\x00", Options{}, io.ErrUnexpectedEOF},
		{"\x02\x00", Options{}, ErrBadRequest},
		{"\x00\x07", Options{}, ErrBadRequest},
		{"\x00\x00", Options{Padding: true}, ErrNotPadded},
		{"\x01\x00\x00", Options{Padding: true}, ErrNotPadded},
		{"\x01\x00\x01\x00\x05abc", Options{}, io.EOF},
	} {
		tt.opt.Handler, tt.opt.Ahead = echo, ahead
		fake := wiretest.New(strings.NewReader(tt.in))
		err := Serve(context.Background(), fake, tt.opt)
		if tt.err == nil {
			tt.err = io.EOF
		}
		if !errors.Is(err, tt.err) || !fake.Closed() || len(fake.Writes()) > 0 {
			t.Errorf("%q: %v, want %v; wrote %q", tt.in, err, tt.err, fake.Writes())
		}
	}
}

// Garbage where a session should be ends the connection.
func TestGarbage(t *testing.T) {
	for name, h := range kinds {
		garbage := strings.Repeat("GET / HTTP/1.1\r\n\r\n", 100)
		fake := wiretest.New(strings.NewReader(string(AppendHello(nil, h)) + garbage))
		done := make(chan error, 1)
		go func() { done <- Serve(context.Background(), fake, Options{Handler: echo, Ahead: ahead}) }()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Errorf("%s: Serve does not return", name)
		}
	}
}

// Whatever a client sends, Serve ends with it, and so do its streams.
func FuzzServe(f *testing.F) {
	syn := "\x01\x00\x00\x00\x01\x00\x00\x00"
	f.Add([]byte("\x00\x00" + syn + "\x01\x02\x0b\x00\x01\x00\x00\x00\x00\x00\x01\x01\x02\x03\x04\x00\x50hi" + "\x01\x01\x00\x00\x01\x00\x00\x00"))
	f.Add([]byte("\x00\x01\x00\x01\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0b\x00\x00\x01\x01\x02\x03\x04\x00\x50hi"))
	f.Add([]byte("\x00\x02PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x01\x00\x01\x00\x02pp\x00\x08\x00\x01" + syn + "p"))
	f.Fuzz(func(t *testing.T, in []byte) {
		fake := wiretest.NewDiscard(strings.NewReader(string(in)))
		done := make(chan struct{})
		go func() {
			_ = Serve(context.Background(), fake, Options{Handler: echo, Ahead: ahead, MaxStreams: 4})
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatal("Serve does not return")
		}
	})
}
