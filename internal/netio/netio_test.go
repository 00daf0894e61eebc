package netio

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tcpPair returns both ends of a loopback connection.
func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func TestConnPeekAndDiscard(t *testing.T) {
	for name, split := range map[string]int{"whole": 10, "bytewise": 1, "uneven": 3} {
		t.Run(name, func(t *testing.T) {
			a, b := tcpPair(t)
			go func() {
				for in := []byte("0123456789"); len(in) > 0; {
					n := min(split, len(in))
					a.Write(in[:n])
					in = in[n:]
				}
				a.CloseWrite()
			}()
			c := NewConn(b)
			for n := range 8 {
				got, err := c.Peek(n)
				if err != nil || len(got) < n {
					t.Fatalf("peek %d = %q, %v", n, got, err)
				}
			}
			if n, err := c.Discard(4); n != 4 || err != nil {
				t.Fatalf("discard = %d, %v", n, err)
			}
			rest, err := io.ReadAll(c)
			if string(rest) != "456789" || err != nil {
				t.Fatalf("rest = %q, %v", rest, err)
			}
			if c.Buffered() != nil || !c.ReaderReplaceable() {
				t.Error("a drained connection holds a buffer")
			}
		})
	}
}

func TestConnPeekErrors(t *testing.T) {
	a, b := tcpPair(t)
	a.Write([]byte("abc"))
	a.CloseWrite()
	c := NewConn(b)
	if _, err := c.Peek(BufferSize + 1); !errors.Is(err, ErrPeekTooLong) {
		t.Errorf("err = %v, want ErrPeekTooLong", err)
	}
	if got, err := c.Peek(5); string(got) != "abc" || err != io.ErrUnexpectedEOF {
		t.Errorf("peek = %q, %v; want abc and unexpected EOF", got, err)
	}
	c.Discard(3)
	if _, err := c.Peek(1); err != io.EOF {
		t.Errorf("err = %v, want EOF", err)
	}
}

func TestConnUnreadKeepsOrder(t *testing.T) {
	a, b := tcpPair(t)
	a.Write([]byte("cd"))
	c := NewConn(b)
	if _, err := c.Peek(2); err != nil {
		t.Fatal(err)
	}
	h := Get()
	h.WriteString("ab")
	c.Unread(Filled(h))
	a.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "abcd" || err != nil {
		t.Errorf("read = %q, %v", got, err)
	}
}

func TestWaitReadBufferHasHeadroom(t *testing.T) {
	a, b := tcpPair(t)
	pr, pw := net.Pipe()
	defer pr.Close()
	defer pw.Close()
	payload := bytes.Repeat([]byte("x"), 5000)
	go a.Write(payload)
	go pw.Write(payload)
	for name, c := range map[string]net.Conn{"socket": b, "plain": pr} {
		t.Run(name, func(t *testing.T) {
			w := NewWaiter(c)
			for got := 0; got < len(payload); {
				buffer, err := w.WaitReadBuffer()
				if err != nil {
					t.Fatal(err)
				}
				if buffer.Start() < Headroom || buffer.FreeLen() < Headroom {
					t.Fatalf("headroom = %d, %d", buffer.Start(), buffer.FreeLen())
				}
				got += buffer.Len()
				Put(buffer)
			}
		})
	}
}

func TestWaitReadBufferKeepsDeadline(t *testing.T) {
	_, b := tcpPair(t)
	b.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err := NewWaiter(b).WaitReadBuffer()
	if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
		t.Errorf("err = %v, want a timeout", err)
	}
}

// hesitant reads nothing, without an error, before each part.
type hesitant struct {
	parts   []string
	nothing int
}

func (h *hesitant) Read(p []byte) (int, error) {
	if h.nothing++; h.nothing%3 != 0 || len(h.parts) == 0 {
		return 0, nil
	}
	part := h.parts[0]
	h.parts = h.parts[1:]
	return copy(p, part), nil
}

// TestWaitReadBufferOfNothing: a reader may return neither a byte nor an error; whoever waits gets one of them.
func TestWaitReadBufferOfNothing(t *testing.T) {
	w := NewWaiter(&hesitant{parts: []string{"a", "b"}})
	for _, want := range []string{"a", "b"} {
		b, err := w.WaitReadBuffer()
		if err != nil || b == nil || string(b.Bytes()) != want {
			t.Fatalf("%v, %v, want %q", b, err, want)
		}
		Put(b)
	}
	if b, err := w.WaitReadBuffer(); b != nil || !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("%v, %v, want no progress", b, err)
	}
}

func TestWaitReadBufferAllocatesNothing(t *testing.T) {
	a, b := tcpPair(t)
	w := NewWaiter(b)
	msg := make([]byte, 1000)
	step := func() {
		a.Write(msg)
		buffer, err := w.WaitReadBuffer()
		if err != nil {
			t.Fatal(err)
		}
		Put(buffer)
	}
	step()
	if raceEnabled {
		return // the race detector empties pools at random
	}
	if n := testing.AllocsPerRun(200, step); n > 0 {
		t.Errorf("%v allocations per chunk", n)
	}
}

func TestSplicer(t *testing.T) {
	in, src := tcpPair(t)
	dst, out := tcpPair(t)
	data := make([]byte, 3<<20)
	rand.Read(data)
	go func() {
		in.Write(data)
		in.CloseWrite()
	}()
	done := make(chan int64)
	go func() {
		s, err := NewSplicer(dst, src)
		if err != nil {
			t.Error(err)
		}
		var total int64
		for err == nil {
			var n int64
			n, err = s.Next()
			total += n
		}
		if err != io.EOF {
			t.Error(err)
		}
		dst.CloseWrite()
		done <- total
	}()
	got, err := io.ReadAll(out)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	if n := <-done; n != int64(len(data)) {
		t.Errorf("counted %d, want %d", n, len(data))
	}
}

func TestSplicerEndsWhenDestinationIsGone(t *testing.T) {
	in, src := tcpPair(t)
	dst, out := tcpPair(t)
	out.SetLinger(0)
	out.Close()
	go func() {
		for _, err := in.Write(make([]byte, 1<<16)); err == nil; {
			_, err = in.Write(make([]byte, 1<<16))
		}
	}()
	s, err := NewSplicer(dst, src)
	for err == nil {
		_, err = s.Next()
	}
	if err == io.EOF {
		t.Error("a broken destination looked like the end of the source")
	}
	in.Close()
}

func TestCloseWriteLooksThrough(t *testing.T) {
	a, b := tcpPair(t)
	if err := CloseWrite(NewConn(a)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("err = %v, want EOF", err)
	}
	p, q := net.Pipe()
	defer p.Close()
	defer q.Close()
	if err := CloseWrite(p); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("err = %v, want ErrUnsupported", err)
	}
}

func TestAddrPort(t *testing.T) {
	ip := net.ParseIP("192.0.2.1") // in 16 bytes
	for _, tt := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: ip, Port: 1}, "192.0.2.1:1"},
		{&net.UDPAddr{IP: ip, Port: 2}, "192.0.2.1:2"},
		{&net.TCPAddr{IP: net.IPv6loopback, Port: 3}, "[::1]:3"},
		{&net.UnixAddr{Name: "a"}, "invalid AddrPort"},
		{nil, "invalid AddrPort"},
	} {
		if got := AddrPort(tt.addr).String(); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.addr, got, tt.want)
		}
	}
}
