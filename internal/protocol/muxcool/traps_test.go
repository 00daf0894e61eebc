package muxcool

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
)

// The traps of protocols.md §12.6, in its order. Trap 2, a New from the server, is looked for in
// every frame that client.pump reads; trap 6 is TestReplyHasItsSource.

// Trap 1: one bad stream does not end the others.
func TestBadStreamEndsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: handler{stream: func(ctx context.Context, conn net.Conn, dst M.Socksaddr) {
			if dst.Port == 1 { // as the router does when it cannot dial
				_ = N.CloseOnHandshakeFailure(conn, nil, errors.New("refused"))
				return
			}
			echo.stream(ctx, conn, dst)
		}}})
		c.open(1, "a.io:80", "")
		c.open(2, "a.io:1", "lost")
		c.wantEnd(2, OptionError)
		for i, meta := range []string{
			"\x00\x04\x00\x03\x01\x00",                                 // no address
			"\x00\x0a\x00\x04\x01\x00\x01\x00\x50\x02\x01/",            // a bad host
			"\x00\x0c\x00\x05\x01\x00\x07\x00\x50\x01\x01\x02\x03\x04", // an unknown network
			"\x00\x08\x00\x06\x01\x01\x01\x00\x50\x01\x00\x05bytes",    // a cut address, with data
		} {
			c.raw(meta)
			c.wantEnd(uint16(3+i), OptionError)
		}
		c.keep(1, "alive")
		c.want(1, "alive")
		c.close()
	})
}

// Trap 3: a slow dial does not hold up the others.
func TestSlowDialHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: handler{stream: func(ctx context.Context, conn net.Conn, dst M.Socksaddr) {
			if dst.Port == 1 {
				time.Sleep(time.Hour)
			}
			echo.stream(ctx, conn, dst)
		}}})
		start := time.Now()
		c.open(1, "a.io:1", strings.Repeat("x", 60_000))
		c.open(2, "a.io:2", "quick")
		c.want(2, "quick")
		if took := time.Since(start); took != 0 {
			t.Errorf("took %s", took)
		}
		c.end(1)
		time.Sleep(time.Hour)
		c.close()
	})
}

// Trap 4: every stream that ends on our side gets an End, and no second one.
func TestEndIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			_, _ = conn.Write([]byte("bye"))
			_ = conn.Close()
			_ = conn.Close()
		}}})
		c.open(1, "a.io:80", "")
		c.want(1, "bye")
		c.wantEnd(1, 0)
		c.keep(1, "on its way when the End was sent")
		c.end(1)
		c.silent()
		c.open(1, "a.io:80", "") // the id is free again
		c.want(1, "bye")
		c.wantEnd(1, 0)
		c.close()
	})
}

func TestUnknownKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: echo})
		c.keep(7, "who is this")
		c.wantEnd(7, 0)
		c.keep(7, "more")
		c.send(Frame{ID: 8, Status: StatusKeep}, "") // without data it asks for nothing
		c.end(9)
		c.silent()
		c.open(7, "a.io:80", "hello")
		c.want(7, "hello")
		c.close()
	})
}

// The memory of ids that were ended is bounded.
func TestRecentEndsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: echo})
		for id := range uint16(rememberEnds + 1) {
			c.keep(id, "x")
			c.wantEnd(id, 0)
		}
		c.keep(0, "x") // forgotten
		c.wantEnd(0, 0)
		c.keep(2, "x") // not yet
		c.silent()
		c.close()
	})
}

// Trap 5: what follows the known part of the metadata means nothing.
func TestMetadataTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: echo})
		c.raw("\x00\x20\x00\x01\x01\x01\x01\x00\x50\x01\x01\x02\x03\x04" + strings.Repeat("p", 20) + "\x00\x01a")
		c.want(1, "a")
		c.raw("\x00\x08\x00\x01\x02\x01tail\x00\x01b")
		c.want(1, "b")
		c.raw("\x00\x06\x00\x01\x03\x01\x02\xff\x00\x01c") // an End with a tail and data
		c.keep(1, "gone")
		c.wantEnd(1, 0)
		c.close()
	})
}

// Trap 7: the same id on two connections is two sessions.
func TestIDsArePerConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry()
		a := dial(t, Options{Handler: echo, Registry: r, User: "u"})
		b := dial(t, Options{Handler: echo, Registry: r, User: "u"})
		a.openUDP(0, "1.1.1.1:1", "to a")
		b.openUDP(0, "2.2.2.2:2", "to b")
		a.want(0, "to a")
		b.want(0, "to b")
		a.silent()
		b.silent()
		a.close()
		b.close()
	})
}

// Trap 8: the streams of a connection are bounded, and those that the client ended count as long as
// their handler runs.
func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: hold, MaxStreams: 3})
		c.open(1, "a.io:80", "")
		c.openUDP(2, "a.io:80", "x")
		c.open(3, "a.io:80", "")
		c.open(4, "a.io:80", "dropped")
		c.wantEnd(4, OptionError)
		c.end(1)
		c.open(5, "a.io:80", "")
		c.wantEnd(5, OptionError)
		c.keep(5, "no second End")
		c.silent()
		c.close()
	})
}

// Trap 10: a KeepAlive may have the id of a session; it is no data for it.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: echo})
		c.send(Frame{Status: StatusKeepAlive}, "")
		c.send(Frame{Status: StatusKeepAlive}, "padding")
		c.openUDP(0, "1.1.1.1:1", "packet")
		c.want(0, "packet")
		c.send(Frame{Status: StatusKeepAlive}, "")
		c.send(Frame{Status: StatusKeepAlive}, "padding")
		c.silent()
		c.keep(0, "alive")
		c.want(0, "alive")
		c.close()
	})
}

func TestDuplicateID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened atomic.Int32
		c := dial(t, Options{Handler: handler{stream: func(ctx context.Context, conn net.Conn, dst M.Socksaddr) {
			opened.Add(1)
			echo.stream(ctx, conn, dst)
		}}})
		c.open(1, "a.io:80", "first")
		c.want(1, "first")
		c.open(1, "b.io:80", "second") // dropped; an End would hit the first
		c.openUDP(1, "b.io:80", "third")
		c.silent()
		c.keep(1, "still first")
		c.want(1, "still first")
		if n := opened.Load(); n != 1 {
			t.Errorf("%d streams, want 1", n)
		}
		c.close()
	})
}

func TestBrokenFramingIsFatal(t *testing.T) {
	for _, in := range []string{"\x00\x03", "\x02\x01", "\x00\x04\x00\x01\x09\x00", "GET / HTTP/1.1"} {
		synctest.Test(t, func(t *testing.T) {
			c := dial(t, Options{Handler: echo})
			c.open(1, "a.io:80", "")
			go func() { _, _ = io.WriteString(c.conn, in) }()
			if err := <-c.result; !errors.Is(err, ErrBadFrame) {
				t.Errorf("%q: Serve = %v, want ErrBadFrame", in, err)
			}
		})
	}
}

func TestEndInsideAFrame(t *testing.T) {
	whole := encode(Frame{ID: 1, Status: StatusNew, Network: NetworkTCP, Address: M.ParseSocksaddr("a.io:80")}, "payload")
	for n := range len(whole) {
		synctest.Test(t, func(t *testing.T) {
			c := dial(t, Options{Handler: echo})
			c.raw(whole[:n])
			err := c.close()
			if n == 0 && err != nil || n > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d bytes: Serve = %v", n, err)
			}
		})
	}
}

func TestContextEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := dialContext(ctx, t, Options{Handler: echo})
		go c.pump()
		c.open(1, "a.io:80", "x")
		c.want(1, "x")
		cancel()
		if err := <-c.result; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve = %v, want Canceled", err)
		}
	})
}

func TestIdleConnectionCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := dial(t, Options{Handler: echo})
		time.Sleep(IdleTimeout - time.Second)
		c.open(1, "a.io:80", "x")
		c.want(1, "x")
		time.Sleep(10 * time.Hour) // not idle while a stream is open
		c.keep(1, "y")
		c.want(1, "y")
		c.end(1)
		for range 5 { // KeepAlives do not keep it
			time.Sleep(IdleTimeout / 6)
			c.send(Frame{Status: StatusKeepAlive}, "")
		}
		if err := <-c.result; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		if took := time.Since(start); took != 10*time.Hour+2*IdleTimeout-time.Second {
			t.Errorf("closed after %s", took)
		}
	})
}

// A client that reads nothing cannot pile up Ends.
func TestEndsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dialQuiet(t, Options{Handler: echo})
		for id := range 2 * maxEnds {
			f := encode(Frame{ID: uint16(id), Status: StatusKeep}, "x")
			if _, err := io.WriteString(c.conn, f); err != nil {
				if id < maxEnds {
					t.Errorf("closed after %d", id)
				}
				<-c.result
				return
			}
		}
		t.Error("not closed")
		c.close()
	})
}
