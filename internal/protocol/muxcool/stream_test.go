package muxcool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire/wiretest"
)

func TestStreamEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: echo})
		c.open(1, "a.io:80", "with New")
		c.want(1, "with New")
		c.open(2, "b.io:80", "")
		c.keep(2, "with Keep")
		c.want(2, "with Keep")
		c.keep(1, "again")
		c.want(1, "again")
		c.end(1)
		c.end(2)
		c.silent()
		if err := c.close(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}

// Several streams each way at once arrive whole and in order.
func TestStreamsInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams, size = 8, 600_000
		c := dialQuiet(t, Options{Handler: echo})
		c.frames = make(chan got) // the client keeps up, no more
		go c.pump()
		pattern := func(id uint16) []byte { return bytes.Repeat([]byte{byte(id), 1, 2, 3, 5, 7, 11}, size/7) }
		var sent sync.WaitGroup
		sent.Go(func() {
			for id := range uint16(streams) {
				c.open(id, "a.io:80", "")
			}
			for at := 0; at < len(pattern(0)); at += 10_000 {
				for id := range uint16(streams) {
					p := pattern(id)
					c.keep(id, string(p[at:min(at+10_000, len(p))]))
				}
			}
		})
		var back [streams]bytes.Buffer
		for left := streams * len(pattern(0)); left > 0; {
			f := c.recv()
			back[f.ID].WriteString(f.data)
			left -= len(f.data)
		}
		sent.Wait()
		for id := range uint16(streams) {
			if !bytes.Equal(back[id].Bytes(), pattern(id)) {
				t.Errorf("stream %d came back wrong", id)
			}
		}
		c.close()
	})
}

func TestStreamDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan string, 1)
		c := dial(t, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, dst M.Socksaddr) {
			got <- dst.String() + " " + conn.RemoteAddr().Network()
		}}})
		c.open(1, "a.io:80", "")
		if got := <-got; got != "a.io:80 pipe" {
			t.Errorf("got %s", got)
		}
		c.wantEnd(1, 0)
		c.close()
	})
}

// One write of the stream is one write per chunk on the connection: header and payload together.
func TestStreamChunks(t *testing.T) {
	payload := strings.Repeat("0123456789abcdef", 1280) // 20 480 bytes
	var want []string
	for _, n := range []int{0, ChunkSize, 2 * ChunkSize} {
		part := payload[n:min(n+ChunkSize, len(payload))]
		want = append(want, encode(Frame{ID: 9, Status: StatusKeep}, part))
	}
	for _, tt := range []struct {
		name  string
		write func(conn net.Conn) error
	}{
		{"Write", func(conn net.Conn) error {
			n, err := conn.Write([]byte(payload))
			if n != len(payload) {
				t.Errorf("wrote %d", n)
			}
			return err
		}},
		{"WriteBuffer", func(conn net.Conn) error {
			b := buf.NewSize(keepHeader + len(payload))
			b.Resize(keepHeader, 0)
			_, _ = b.WriteString(payload)
			return conn.(N.ExtendedWriter).WriteBuffer(b)
		}},
		{"WriteBuffer without room", func(conn net.Conn) error {
			return conn.(N.ExtendedWriter).WriteBuffer(buf.As([]byte(payload)))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fake := wiretest.New(strings.NewReader(""))
			s := newServer(t.Context(), fake, Options{IdleTimeout: time.Hour})
			defer s.shutdown()
			if err := tt.write(newStream(s, 9)); err != nil {
				t.Fatal(err)
			}
			if got := fake.Writes(); strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("%d writes differ from %d frames", len(got), len(want))
			}
		})
	}
}

func TestStreamReadsTheRestAfterEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		c := dial(t, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			defer close(done)
			time.Sleep(time.Second)
			if got, err := io.ReadAll(conn); string(got) != "all of it" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
			if _, err := conn.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("write after End: %v, want ErrClosedPipe", err)
			}
		}}})
		c.open(1, "a.io:80", "all ")
		c.keep(1, "of it")
		c.end(1)
		<-done
		c.silent() // the client has ended it: no End from us, which might hit the next stream
		c.close()
	})
}

// The end of a download reaches the client at once, and what it sent before is not lost.
func TestStreamCloseWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rest := make(chan string, 1)
		c := dial(t, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			defer conn.Close()
			synctest.Wait() // the client's bytes are queued
			io.WriteString(conn, "all of it")
			if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Error(err)
			}
			if _, err := conn.Write([]byte("x")); err == nil {
				t.Error("a write after the end went through")
			}
			b, err := io.ReadAll(conn)
			if err != nil {
				t.Error(err)
			}
			rest <- string(b)
		}}})
		c.open(1, "a.io:80", "request")
		c.want(1, "all of it")
		c.wantEnd(1, 0)
		if got := <-rest; got != "request" {
			t.Errorf("read %q after the end, want %q", got, "request")
		}
		c.silent()
		if err := c.close(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}

func TestStreamLosesItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			if got, err := io.ReadAll(conn); string(got) != "hi" || !errors.Is(err, ErrClosed) {
				t.Errorf("read %q, %v, want ErrClosed", got, err)
			}
			if _, err := conn.Write([]byte("x")); err == nil {
				t.Error("write succeeds")
			}
		}}})
		c.open(1, "a.io:80", "hi")
		synctest.Wait()
		if err := c.close(); err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
}

func TestStreamReadWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			time.Sleep(time.Second) // the first frames are queued without room
			w := conn.(N.ReadWaiter)
			w.InitializeReadWaiter(N.ReadWaitOptions{FrontHeadroom: 10, RearHeadroom: 20})
			var got string
			for {
				b, err := w.WaitReadBuffer()
				if err != nil {
					if err != io.EOF || got != "onetwothreefour" {
						t.Errorf("read %q, %v", got, err)
					}
					return
				}
				if b.Start() < 10 || b.FreeLen() < 20 {
					t.Errorf("%q has room for %d and %d", b.Bytes(), b.Start(), b.FreeLen())
				}
				got += string(b.Bytes())
				b.Release()
			}
		}}})
		c.open(1, "a.io:80", "one")
		for _, s := range []string{"two", "three"} {
			c.keep(1, s)
		}
		time.Sleep(2 * time.Second)
		c.keep(1, "four")
		c.end(1)
		synctest.Wait()
		c.close()
	})
}

// While the reader is behind, small frames are gathered: it catches up with few large reads.
func TestStreamGathersSmallFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			time.Sleep(time.Second)
			reads, total := 0, 0
			for {
				b, err := conn.(N.ReadWaiter).WaitReadBuffer()
				if err != nil {
					break
				}
				reads, total = reads+1, total+b.Len()
				b.Release()
			}
			if reads > 3 || total != 1000 {
				t.Errorf("%d bytes in %d reads", total, reads)
			}
		}}})
		c.open(1, "a.io:80", "")
		for range 100 {
			c.keep(1, "0123456789")
		}
		c.end(1)
		time.Sleep(2 * time.Second)
		c.close()
	})
}

func TestStreamDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		c := dialQuiet(t, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			defer close(done)
			checkDeadlines(t, conn)
		}}})
		c.keep(9, "the End for this blocks the connection: nobody reads it")
		c.open(1, "a.io:80", "")
		<-done
		c.close()
	})
}

// checkDeadlines uses a conn on which nothing arrives, and on whose connection nothing can be sent.
func checkDeadlines(t *testing.T, conn net.Conn) {
	start := time.Now()
	p := make([]byte, 1)
	took := func(what string, err error, want time.Duration) {
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != want {
			t.Errorf("%s: %v after %s, want a timeout after %s", what, err, time.Since(start), want)
		}
	}
	_ = conn.SetReadDeadline(start.Add(time.Second))
	_, err := conn.Read(p)
	took("read", err, time.Second)
	_, err = conn.Read(p)
	took("read again", err, time.Second)
	_ = conn.SetReadDeadline(start.Add(2 * time.Second))
	_, err = conn.Read(p)
	took("read later", err, 2*time.Second)

	_ = conn.SetReadDeadline(start.Add(time.Hour))
	time.AfterFunc(time.Second, func() { _ = conn.SetReadDeadline(start.Add(4 * time.Second)) })
	_, err = conn.Read(p)
	took("read with a deadline moved meanwhile", err, 4*time.Second)

	_ = conn.SetReadDeadline(time.Time{})
	time.AfterFunc(time.Second, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	_, err = conn.Read(p)
	took("read with a deadline set meanwhile", err, 5*time.Second)
	_, err = conn.Write(p)
	took("write", err, 5*time.Second)
}

// A write waits for the connection no longer than its deadline, and Close never waits.
func TestStreamWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := make(chan net.Conn, 2)
		c := dialQuiet(t, Options{Handler: handler{stream: func(ctx context.Context, conn net.Conn, _ M.Socksaddr) {
			first <- conn
			<-ctx.Done()
		}}})
		c.open(1, "a.io:80", "")
		one := <-first
		c.open(2, "a.io:80", "")
		two := <-first
		go func() { _, _ = one.Write([]byte("nobody reads this")) }()
		synctest.Wait()
		start := time.Now()
		_ = two.SetWriteDeadline(start.Add(time.Second))
		if _, err := two.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		_ = two.SetWriteDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { two.Close() })
		if _, err := two.Write([]byte("x")); !errors.Is(err, net.ErrClosed) || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		one.Close()
		if time.Since(start) != 2*time.Second {
			t.Error("Close waits for the client")
		}
		if _, err := two.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read of a closed stream: %v", err)
		}
		c.close()
	})
}

func TestStreamAllocs(t *testing.T) {
	s := newServer(t.Context(), wiretest.NewDiscard(strings.NewReader("")), Options{IdleTimeout: time.Hour})
	defer s.shutdown()
	st := newStream(s, 1)
	payload := make([]byte, 32<<10)
	if n := testing.AllocsPerRun(100, func() { _, _ = st.Write(payload) }); n != 0 {
		t.Errorf("Write: %v allocations, want 0", n)
	}
	b := buf.With(make([]byte, 128+32<<10))
	n := testing.AllocsPerRun(100, func() {
		b.Resize(128, 32<<10-128)
		_ = st.WriteBuffer(b)
	})
	if n != 0 {
		t.Errorf("WriteBuffer: %v allocations, want 0", n)
	}
}
