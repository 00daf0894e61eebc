package h2

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"heki/constant"
)

// bubble runs srv on one end of a pipe and returns the other one, which has said hello.
func bubble(t *testing.T, handle func(context.Context, *Stream, *Message)) *raw {
	client, server := net.Pipe()
	_ = server.SetDeadline(time.Now().Add(10 * time.Second))
	r := &raw{Conn: client, framer: http2.NewFramer(client, client), result: serve(t, tunnel(), server, handle)}
	r.send(appendSettings([]byte(Preface)))
	until[*http2.WindowUpdateFrame](t, r)
	return r
}

// send writes while the other side may be writing too.
func (r *raw) send(b []byte) { go func() { _, _ = r.Write(b) }() }

// trusted is a handler that takes the first byte for a user's, and waits for the end.
func trusted(_ context.Context, s *Stream, _ *Message) {
	if _, err := s.Read(make([]byte, 1)); err == nil {
		_ = s.SetDeadline(time.Time{})
		_, _ = io.Copy(io.Discard, s)
	}
	_ = s.Close()
}

// A connection without streams ends, but only after a while; one with a stream that waits does not.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bubble(t, trusted)
		start := time.Now()
		r.send(append(open(nil, 1), frame(frameData, 0, 1, "x")...))
		until[*http2.HeadersFrame](t, r)
		time.Sleep(time.Hour)
		r.send([]byte(frame(framePing, 0, 0, "12345678")))
		until[*http2.PingFrame](t, r)
		r.send([]byte(frame(frameData, flagEnd, 1, "")))
		until[*http2.DataFrame](t, r)
		if f := until[*http2.GoAwayFrame](t, r); f.LastStreamID != 1 || f.ErrCode != 0 {
			t.Errorf("%v", f)
		}
		if d := time.Since(start); d != time.Hour+DefaultIdle {
			t.Errorf("ended after %s", d)
		}
		if err := <-r.result; err != nil {
			t.Errorf("err = %v", err)
		}
		_ = r.Close()
	})
}

// Without a user the deadline of the connection stands, whatever else is asked.
func TestNoUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bubble(t, trusted)
		start := time.Now()
		go func() {
			for id := uint32(1); ; id += 2 {
				time.Sleep(time.Second)
				if _, err := r.Write(appendHeaders(nil, id, flagEnd, AppendRequest(nil, "GET", "https", "a", "/"))); err != nil {
					return
				}
			}
		}()
		for {
			if _, err := r.framer.ReadFrame(); err != nil {
				break
			}
		}
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("ended after %s", d)
		}
		if err := <-r.result; !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, ErrRefused) {
			t.Errorf("err = %v", err)
		}
		time.Sleep(time.Minute)
	})
}

// A stream that says nothing ends on a connection that has users.
func TestSilentStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bubble(t, trusted)
		r.send(open(append(open(nil, 1), frame(frameData, 0, 1, "x")...), 3))
		start := time.Now()
		for {
			f := until[*http2.DataFrame](t, r)
			if f.StreamID == 3 && f.StreamEnded() {
				break
			}
		}
		if d := time.Since(start); d < handshakeTime || d > handshakeTime*5/4 {
			t.Errorf("ended after %s", d)
		}
		_ = r.Close()
		<-r.result
	})
}

// A stream that is closed while the peer takes nothing holds the connection up for a bounded time, and a
// peer that comes back in time loses no other stream.
func TestCloseWhileStalled(t *testing.T) {
	for _, away := range []time.Duration{stallTime - time.Second, stallTime + time.Second} {
		synctest.Test(t, func(t *testing.T) {
			over := make(chan struct{})
			r := bubble(t, func(ctx context.Context, s *Stream, m *Message) {
				if s.id == 1 {
					trusted(ctx, s, m)
					return
				}
				time.AfterFunc(time.Second, func() { _ = s.Close() })
				_, _ = s.Write(make([]byte, 30_000))
				close(over)
			})
			r.send(append(open(nil, 1), frame(frameData, 0, 1, "x")...))
			until[*http2.HeadersFrame](t, r)
			r.send(open(nil, 3))
			until[*http2.HeadersFrame](t, r)
			time.Sleep(time.Second + away)
			if away > stallTime {
				<-over
				if err := <-r.result; !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("err = %v", err)
				}
				_ = r.Close()
				return
			}
			until[*http2.RSTStreamFrame](t, r)
			<-over
			time.Sleep(time.Hour)
			r.send([]byte(frame(framePing, 0, 0, "12345678")))
			until[*http2.PingFrame](t, r)
			_ = r.Close()
			<-r.result
		})
	}
}

// A reader that has taken the first part of a frame hears of each of the others, with nothing behind.
func TestFrameInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan string, 3)
		r := bubble(t, func(_ context.Context, s *Stream, _ *Message) {
			_ = s.SetDeadline(time.Time{})
			b := make([]byte, 100)
			for {
				n, err := s.Read(b)
				if err != nil {
					break
				}
				got <- string(b[:n])
			}
			_ = s.Close()
		})
		r.send(open(nil, 1))
		until[*http2.HeadersFrame](t, r)
		for i, piece := range []string{frame(frameData, 0, 1, "one two six")[:frameHeader+3], " two", " six"} {
			r.send([]byte(piece))
			select {
			case s := <-got:
				if want := []string{"one", " two", " six"}[i]; s != want {
					t.Errorf("read %q, want %q", s, want)
				}
			case <-time.After(time.Minute):
				t.Errorf("nobody reads %q", piece)
			}
		}
		_ = r.Close()
		<-r.result
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		r := bubble(t, func(_ context.Context, s *Stream, _ *Message) {
			defer close(done)
			_ = s.SetDeadline(time.Time{})
			start := time.Now()
			_ = s.SetReadDeadline(start.Add(time.Second))
			if _, err := s.Read(make([]byte, 1)); err != os.ErrDeadlineExceeded || time.Since(start) != time.Second {
				t.Errorf("read: %v after %s", err, time.Since(start))
			}
			_ = s.SetReadDeadline(start.Add(-time.Second))
			if _, err := s.WaitReadBuffer(); err != os.ErrDeadlineExceeded {
				t.Errorf("read too late: %v", err)
			}
			_ = s.SetReadDeadline(time.Time{})
			_ = s.SetWriteDeadline(start.Add(3 * time.Second))
			n, err := s.Write(make([]byte, 100_000))
			if err != os.ErrDeadlineExceeded || time.Since(start) != 3*time.Second || n > windowDefault {
				t.Errorf("write: %d, %v after %s", n, err, time.Since(start))
			}
			_ = s.SetWriteDeadline(time.Time{})
			if _, err := s.Read(make([]byte, 1)); err != nil {
				t.Errorf("read: %v", err)
			}
			_ = s.Close()
		})
		r.send(open(nil, 1))
		go func() {
			for {
				if _, err := r.framer.ReadFrame(); err != nil {
					return
				}
			}
		}()
		time.Sleep(5 * time.Second)
		r.send([]byte(frame(frameData, 0, 1, "x")))
		<-done
		_ = r.Close()
		<-r.result
	})
}

// pipes is a dialer of a Client whose peers are run by serve.
func pipes(serve func(net.Conn)) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		a, b := net.Pipe()
		go serve(b)
		return a, nil
	}
}

func TestPing(t *testing.T) {
	for _, always := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			k := NewClient(ClientOptions{
				Ping: 10 * time.Second, Pong: 5 * time.Second, Always: always,
				Dial: pipes(func(c net.Conn) {
					go c.Write(appendSettings(nil)) //nolint:errcheck // both speak first
					_, _ = io.Copy(io.Discard, c)
				}),
			})
			s, err := k.Open(t.Context(), put(), ok)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if _, err := s.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "ping") {
				t.Errorf("err = %v", err)
			}
			if d := time.Since(start); d != 25*time.Second { // 10 after the greeting, 10 and 5
				t.Errorf("ended after %s", d)
			}
			_ = s.Close()
			_ = k.Close()
		})
	}
}

// A server that accepts and says nothing, or too little, is left in the time of a handshake.
func TestNoGreeting(t *testing.T) {
	for _, some := range []int{1, 5} {
		synctest.Test(t, func(t *testing.T) {
			k := NewClient(ClientOptions{Dial: pipes(func(c net.Conn) {
				go c.Write(appendSettings(nil)[:some]) //nolint:errcheck // both speak first
				_, _ = io.Copy(io.Discard, c)
			})})
			s, err := k.Open(t.Context(), put(), ok)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_ = s.SetReadDeadline(start.Add(time.Hour))
			if _, err := s.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "does not greet") {
				t.Errorf("err = %v", err)
			}
			if d := time.Since(start); d != constant.HandshakeTimeout {
				t.Errorf("ended after %s", d)
			}
			_ = s.Close()
			_ = k.Close()
		})
	}
}

// A peer that answers pings lives; a connection without streams is left after a while.
func TestClientIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		ends := make(chan error, 3)
		k := NewClient(ClientOptions{Ping: 10 * time.Second})
		k.o.Dial = func(context.Context) (net.Conn, error) {
			dials++
			a, b := net.Pipe()
			_ = b.SetDeadline(time.Now().Add(10 * time.Second))
			result := serve(t, tunnel(), b, trusted)
			go func() { ends <- <-result }()
			return a, nil
		}
		for range 2 {
			for range 3 { // streams that follow one another share a connection
				s, err := k.Open(t.Context(), put(), ok)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = s.Write([]byte("x"))
				time.Sleep(time.Hour)
				_ = s.CloseWrite()
				if _, err := s.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("err = %v", err)
				}
				_ = s.Close()
				time.Sleep(time.Minute)
			}
			time.Sleep(clientIdle)
		}
		if err1, err2 := <-ends, <-ends; dials != 2 || err1 != nil || err2 != nil {
			t.Errorf("%d connections, %v, %v", dials, err1, err2)
		}
		_ = k.Close()
	})
}

// A dial that fails is everyone's who waits for it; the next call dials again.
func TestDialFails(t *testing.T) {
	want := errors.New("no route")
	k := NewClient(ClientOptions{Dial: func(context.Context) (net.Conn, error) { return nil, want }})
	for range 3 {
		if _, err := k.Open(t.Context(), put(), ok); !errors.Is(err, want) {
			t.Errorf("err = %v", err)
		}
	}
	_ = k.Close()
	if _, err := k.Open(t.Context(), put(), ok); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	k = NewClient(ClientOptions{Dial: func(ctx context.Context) (net.Conn, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	if _, err := k.Open(ctx, put(), ok); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_ = k.Close() // ends the dial
}
