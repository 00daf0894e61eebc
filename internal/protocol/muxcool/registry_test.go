package muxcool

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
)

var gid = GlobalID{1, 2, 3, 4, 5, 6, 7, 8}

// xudp is a New as an Xray client of a full-cone inbound sends it.
func xudp(id uint16, g GlobalID) Frame {
	f := udp(id, StatusNew, "1.1.1.1:1")
	f.GlobalID = g
	return f
}

// counted is echo that counts its packet sessions.
func counted(n *atomic.Int32) handler {
	h := echo
	h.packet = func(ctx context.Context, conn N.PacketConn, dst M.Socksaddr) {
		n.Add(1)
		echo.packet(ctx, conn, dst)
	}
	return h
}

func TestXUDPMovesToTheNewConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sessions atomic.Int32
		r := NewRegistry()
		opt := Options{Handler: counted(&sessions), Registry: r, User: "alice"}
		a := dial(t, opt)
		a.send(xudp(0, gid), "one")
		a.want(0, "one")

		b := dial(t, opt) // while the old connection is there
		b.send(xudp(9, gid), "two")
		b.want(9, "two")
		a.wantEnd(0, 0)
		b.keep(9, "three")
		b.want(9, "three")
		a.keep(0, "not here any more")
		a.silent()

		b.close() // and after the connection is gone
		time.Sleep(ExpireAfter - time.Second)
		a.send(xudp(1, gid), "four")
		a.want(1, "four")
		time.Sleep(2 * ExpireAfter) // attached it does not expire
		a.keep(1, "five")
		a.want(1, "five")

		a.end(1) // and after its End
		time.Sleep(ExpireAfter - time.Second)
		a.send(xudp(2, gid), "six")
		a.want(2, "six")
		if n := sessions.Load(); n != 1 {
			t.Errorf("%d sessions, want 1", n)
		}
		a.close()
		time.Sleep(ExpireAfter)
		synctest.Wait()
		if n := r.Len(); n != 0 {
			t.Errorf("%d sessions after a minute, want 0", n)
		}
		r.Close()
	})
}

func TestXUDPExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, r := time.Now(), NewRegistry()
		ended := make(chan time.Duration, 1)
		c := dial(t, Options{Registry: r, User: 1, Handler: handler{packet: func(ctx context.Context, conn N.PacketConn, dst M.Socksaddr) {
			echo.packet(ctx, conn, dst)
			<-ctx.Done() // ends with the session, not with the connection
			ended <- time.Since(start)
		}}})
		c.send(xudp(0, gid), "one")
		c.want(0, "one")
		c.close()
		if got := <-ended; got != ExpireAfter {
			t.Errorf("ended after %s, want %s", got, ExpireAfter)
		}
		r.Close()
	})
}

func TestXUDPDropsRepliesWithoutConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, next := NewRegistry(), make(chan error)
		opt := Options{Registry: r, User: 1, Handler: handler{packet: func(_ context.Context, conn N.PacketConn, _ M.Socksaddr) {
			for range 2 {
				next <- nil
				next <- conn.WritePacket(buf.As([]byte("reply")), M.ParseSocksaddr("2.2.2.2:2"))
			}
		}}}
		a := dial(t, opt)
		a.send(xudp(3, gid), "one")
		<-next
		a.close()
		if err := <-next; err != nil {
			t.Errorf("reply without connection: %v, want nil", err)
		}
		b := dial(t, opt)
		b.send(xudp(0, gid), "two")
		synctest.Wait()
		<-next
		if err := <-next; err != nil {
			t.Errorf("reply: %v", err)
		}
		b.want(0, "reply")
		b.wantEnd(0, 0)
		b.close()
		r.Close()
	})
}

// The same eight bytes of another user, or of nobody, are another session.
func TestXUDPIsPerUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sessions atomic.Int32
		r := NewRegistry()
		for _, opt := range []Options{
			{Registry: r, User: "alice"},
			{Registry: r, User: "bob"},
			{Registry: r},
			{User: "alice"},
		} {
			opt.Handler = counted(&sessions)
			c := dial(t, opt)
			c.send(xudp(0, gid), "x")
			c.want(0, "x")
			c.send(xudp(1, GlobalID{}), "y") // none
			c.want(1, "y")
			c.close()
		}
		if got, kept := sessions.Load(), r.Len(); got != 8 || kept != 2 {
			t.Errorf("%d sessions, %d kept, want 8 and 2", got, kept)
		}
		r.Close()
	})
}

// The same socket announced again under its id goes on.
func TestXUDPAgainOnItsID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sessions atomic.Int32
		r := NewRegistry()
		c := dial(t, Options{Handler: counted(&sessions), Registry: r, User: 1})
		c.send(xudp(0, gid), "one")
		c.want(0, "one")
		c.send(xudp(0, gid), "two")
		c.want(0, "two")
		c.send(xudp(0, GlobalID{9}), "another socket on a live id")
		c.silent()
		if n := sessions.Load(); n != 1 {
			t.Errorf("%d sessions, want 1", n)
		}
		c.close()
		r.Close()
	})
}

func TestXUDPHandlerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry()
		c := dial(t, Options{Handler: handler{}, Registry: r, User: 1})
		for range 3 {
			c.send(xudp(0, gid), "one")
			c.wantEnd(0, 0)
		}
		if n := r.Len(); n != 0 {
			t.Errorf("%d sessions, want 0", n)
		}
		time.Sleep(IdleTimeout) // what is gone keeps no connection
		if err := <-c.result; err != nil {
			t.Error(err)
		}
		r.Close()
	})
}

func TestRegistryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry()
		for i := range MaxSessions {
			r.sessions[sessionKey{user: i}] = nil
		}
		c := dial(t, Options{Handler: echo, Registry: r, User: "u"})
		c.send(xudp(0, gid), "served all the same")
		c.want(0, "served all the same")
		if n := r.Len(); n != MaxSessions {
			t.Errorf("%d sessions, at most %d", n, MaxSessions)
		}
		c.close()
		clear(r.sessions)
		r.Close()
	})
}

func TestRegistryClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, results := NewRegistry(), make(chan error, 1)
		c := dial(t, Options{Registry: r, User: 1, Handler: handler{packet: func(_ context.Context, conn N.PacketConn, _ M.Socksaddr) {
			b := buf.NewSize(10)
			defer b.Release()
			for {
				b.Reset()
				if _, err := conn.ReadPacket(b); err != nil {
					results <- err
					return
				}
			}
		}}})
		c.send(xudp(0, gid), "one")
		synctest.Wait()
		r.Close()
		if err := <-results; err == nil || errors.Is(err, io.EOF) {
			t.Errorf("read: %v", err)
		}
		c.wantEnd(0, 0)
		c.send(xudp(1, gid), "no longer kept")
		synctest.Wait()
		if n := r.Len(); n != 0 {
			t.Errorf("%d sessions, want 0", n)
		}
		c.close()
	})
}
