package muxio

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	"go.uber.org/goleak"

	"heki/internal/protocol/wire"
	"heki/internal/protocol/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFifo(t *testing.T) {
	var q Fifo[int]
	next, want := 0, 0
	for round := range 1000 {
		for range round % 7 {
			q.Push(next)
			next++
		}
		for range min(round%5, q.Len()) {
			if *q.First() != want || q.Pop() != want {
				t.Fatalf("not %d", want)
			}
			want++
		}
	}
	if q.Len() != next-want || *q.Last() != next-1 {
		t.Errorf("%d are left, the last is %d", q.Len(), *q.Last())
	}
}

// put delivers text as the reading goroutine of a connection does.
func put(t *testing.T, in *Inbox, text string) {
	t.Helper()
	b, err := in.Reserve(len(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = b.WriteString(text)
	in.Put(b)
}

func TestInbox(t *testing.T) {
	var total atomic.Int64
	var deadline wire.Deadline
	var in Inbox
	in.Init(&total, &deadline)
	put(t, &in, "hello ")
	put(t, &in, "world")
	in.Finish(io.EOF)
	if _, err := in.Reserve(1, nil); !errors.Is(err, ErrUnread) {
		t.Errorf("after the end: %v", err)
	}
	if got, err := io.ReadAll(&in); string(got) != "hello world" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if n := total.Load(); n != 0 {
		t.Errorf("%d bytes are charged still", n)
	}
	if !in.Shut() || in.Shut() {
		t.Error("Shut does not say who was first")
	}
	if _, err := in.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestInboxStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var total atomic.Int64
		var deadline wire.Deadline
		var in Inbox
		in.Init(&total, &deadline)
		for range StreamQueue/60_000 - 1 {
			put(t, &in, strings.Repeat("x", 60_000))
		}
		start := time.Now()
		if _, err := in.Reserve(StreamQueue, nil); !errors.Is(err, ErrStalled) || time.Since(start) != StallTimeout {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		gone := make(chan struct{})
		close(gone)
		if _, err := in.Reserve(StreamQueue, gone); !errors.Is(err, ErrUnread) {
			t.Error(err)
		}
		deadline.Set(time.Now().Add(time.Second))
		in.Shut()
		deadline.Stop()
		if total.Load() != 0 {
			t.Errorf("%d bytes are charged still", total.Load())
		}
	})
}

func TestPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var deadline wire.Deadline
		var p Packets
		p.Init(&deadline)
		to := M.ParseSocksaddr("a.io:53")
		taken := 0
		for range 2 * PacketQueue {
			if b := p.Room(100); b != nil {
				_, _ = b.Write(make([]byte, 100))
				p.Put(b, to)
				taken++
			}
		}
		if taken != PacketQueue {
			t.Errorf("%d packets wait, want %d", taken, PacketQueue)
		}
		small := buf.NewSize(10) // a packet for which there is no room is lost, all of them here
		defer small.Release()
		deadline.Set(time.Now().Add(time.Second))
		if _, err := p.ReadPacket(small); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		deadline.Stop()
		p.Finish(io.EOF)
		if _, _, err := p.WaitReadPacket(); err != io.EOF || p.Ended() != io.EOF {
			t.Error(err, p.Ended())
		}
		if p.Shut(); !errors.Is(p.Ended(), net.ErrClosed) || p.Room(1) != nil {
			t.Error("not shut")
		}
	})
}

func TestOutbox(t *testing.T) {
	fake := wiretest.New(strings.NewReader(""))
	o := NewOutbox(fake, 100)
	var l Link
	var never wire.Deadline
	l.Init(o)
	if err := l.Send([]byte("frame"), &never); err != nil {
		t.Fatal(err)
	}
	o.Queue([]byte("small"))
	o.Flushed(time.Minute)
	l.Sever()
	if err := l.Send([]byte("late"), &never); err != io.ErrClosedPipe {
		t.Error(err)
	}
	if got := strings.Join(fake.Writes(), " "); got != "frame small" {
		t.Errorf("wrote %q", got)
	}
	o.Queue(make([]byte, 101)) // more than a client may leave unread
	if !fake.Closed() {
		t.Error("the connection is open")
	}
	o.Close()
	o.Queue([]byte("nothing"))
	o.Wait()
}
