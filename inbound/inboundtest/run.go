package inboundtest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"heki/option"
)

// Run runs the suite.
func Run(t *testing.T, p Protocol) {
	RunBody(t, p)
	t.Run("wrong user", func(t *testing.T) { p.testWrongUser(t) })
	t.Run("fallback", func(t *testing.T) { p.testFallback(t) })
	t.Run("swap under load", func(t *testing.T) { p.testSwap(t) })
	t.Run("same credential twice", func(t *testing.T) { p.testDuplicate(t) })
	t.Run("kick", func(t *testing.T) { p.testKick(t) })
	t.Run("garbage", func(t *testing.T) { p.testGarbage(t) })
}

// RunBody runs the part of the suite that depends on how payload is carried, for protocols that have
// several ways.
func RunBody(t *testing.T, p Protocol) {
	t.Run("echo", func(t *testing.T) { p.testEcho(t) })
	if !p.NoHalfClose {
		t.Run("half-close", func(t *testing.T) { p.testHalfClose(t) })
	}
	t.Run("first payload of 1 MiB", func(t *testing.T) { p.testFirstPayload(t) })
	t.Run("split header", func(t *testing.T) { p.testSplitHeader(t) })
}

// open sends the header of user i and payload in one write.
func (p Protocol) open(t testing.TB, s *Server, i int, dst net.Addr, payload []byte) Conn {
	t.Helper()
	c := s.Dial(t)
	t.Cleanup(func() { c.Close() })
	stream := p.stream(i, dst, c)
	if _, err := stream.Write(payload); err != nil {
		t.Fatal(err)
	}
	return stream
}

// stream is the end of user i.
func (p Protocol) stream(i int, dst net.Addr, c Conn) Conn {
	if p.Stream != nil {
		return p.Stream(p.Account(i), dst, c)
	}
	return &plain{Conn: c, header: p.Header(p.Account(i), dst)}
}

// plain puts the header before the first write.
type plain struct {
	Conn
	header []byte
}

func (p *plain) Write(b []byte) (int, error) {
	if p.header == nil {
		return p.Conn.Write(b)
	}
	_, err := p.Conn.Write(append(p.header, b...))
	p.header = nil
	return len(b), err
}

// halves writes its first write in two parts.
type halves struct {
	Conn
	cut int // 0: done, or not wanted
	n   int // length of the first write
}

func (h *halves) Write(b []byte) (int, error) {
	if h.n == 0 {
		h.n = len(b)
	}
	cut := min(h.cut, len(b))
	h.cut = 0
	if cut == 0 {
		return h.Conn.Write(b)
	}
	if n, err := h.Conn.Write(b[:cut]); err != nil {
		return n, err
	}
	time.Sleep(5 * time.Millisecond) // let the two parts arrive apart
	n, err := h.Conn.Write(b[cut:])
	return cut + n, err
}

// expect reads the answer header and want.
func (p Protocol) expect(t testing.TB, c net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(p.Answer)+len(want))
	if n, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("after %d bytes of %d: %v", n, len(got), err)
	}
	if !bytes.Equal(got[:len(p.Answer)], p.Answer) || !bytes.Equal(got[len(p.Answer):], want) {
		t.Fatalf("answer of %d bytes differs", len(got))
	}
}

func (p Protocol) testEcho(t *testing.T) {
	s, dst := Start(t, p, Waiting(patience), 3), echo(t)
	for i := range 3 {
		c := p.open(t, s, i, dst, []byte("hello"))
		p.expect(t, c, []byte("hello"))
	}
}

func (p Protocol) testHalfClose(t *testing.T) {
	s := Start(t, p, Waiting(patience), 1)
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
		defer c.Close()
		b, _ := io.ReadAll(c) // only the client's half-close ends this
		c.Write(append([]byte("got "), b...))
	}()
	c := p.open(t, s, 0, l.Addr(), []byte("all of it"))
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	p.expect(t, c, []byte("got all of it"))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("err = %v, want EOF", err)
	}
}

func (p Protocol) testFirstPayload(t *testing.T) {
	s, dst := Start(t, p, Waiting(patience), 1), echo(t)
	payload := make([]byte, 1<<20)
	rand.Read(payload)
	c := s.Dial(t)
	defer c.Close()
	stream := p.stream(0, dst, c)
	go stream.Write(payload)
	p.expect(t, stream, payload)
}

func (p Protocol) testSplitHeader(t *testing.T) {
	s, dst := Start(t, p, Waiting(patience), 1), echo(t)
	try := func(cut int) (n int) {
		c := &halves{Conn: s.Dial(t), cut: cut}
		defer c.Close()
		stream := p.stream(0, dst, c)
		stream.Write([]byte("hello"))
		got := make([]byte, len(p.Answer)+5)
		if _, err := io.ReadFull(stream, got); err != nil || string(got[len(p.Answer):]) != "hello" {
			t.Errorf("cut at %d: %q, %v", cut, got, err)
		}
		return c.n
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 50) // a header may have 1000 bytes, and the server waits half a second
	n := try(0)
	for cut := max(1, p.FirstRead); cut < n; cut += 1 + n/cuts {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			try(cut)
		})
	}
	wg.Wait()
}

// silence fails when c answers anything before it is closed.
func silence(c net.Conn) error {
	got, err := io.ReadAll(c)
	if len(got) > 0 {
		return errors.New("answered " + string(got))
	}
	if err != nil {
		return err
	}
	return nil
}

func (p Protocol) testWrongUser(t *testing.T) {
	s, dst := Start(t, p, option.Stream{}, 1), echo(t)
	c := p.open(t, s, 7, dst, []byte("hello"))
	if err := silence(c); err != nil {
		t.Error(err)
	}
}

func (p Protocol) testFallback(t *testing.T) {
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	go func() {
		for {
			c, err := web.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 4096)
				n, _ := c.Read(b)
				c.Write(append([]byte("web got "), b[:n]...))
			}()
		}
	}()
	addr := web.Addr().(*net.TCPAddr)
	s := Start(t, p, option.Stream{Fallback: &option.Server{Server: "127.0.0.1", ServerPort: uint16(addr.Port)}}, 1)
	for name, first := range map[string][]byte{
		"http":       []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"wrong user": p.Header(p.Account(7), addr),
		"truncated":  p.Header(p.Account(0), addr)[:10],
		"nul":        make([]byte, 300),
	} {
		t.Run(name, func(t *testing.T) {
			c := s.Dial(t)
			defer c.Close()
			c.Write(first)
			got, err := io.ReadAll(c)
			if want := "web got " + string(first); string(got) != want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		})
	}
}

func (p Protocol) testSwap(t *testing.T) {
	s, dst := Start(t, p, Waiting(3*time.Second), 2), echo(t) // a removed user waits for it
	living := p.open(t, s, 0, dst, []byte("before"))
	p.expect(t, living, []byte("before"))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.Swap(Users(p, 1+n%50)); err != nil {
				t.Error(err)
			}
			runtime.Gosched() // or one processor does nothing else for 10 ms each time
		}
	})
	for range 200 {
		c := p.open(t, s, 0, dst, []byte("hello"))
		p.expect(t, c, []byte("hello"))
		c.Close()
	}
	close(stop)
	wg.Wait()
	_ = living.SetDeadline(time.Now().Add(time.Minute))
	living.Write([]byte("after"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(living, got); err != nil || string(got) != "after" {
		t.Errorf("an unchanged user's connection: %q, %v", got, err)
	}
	if err := s.Swap(Users(p, 2)[1:]); err != nil {
		t.Fatal(err)
	}
	if err := silence(p.open(t, s, 0, dst, []byte("hello"))); err != nil {
		t.Errorf("a removed user: %v", err)
	}
}

func (p Protocol) testDuplicate(t *testing.T) {
	s, dst := Start(t, p, Waiting(patience), 1), echo(t)
	twice := append(Users(p, 3), Users(p, 1)...)
	if err := s.Swap(twice); err == nil {
		t.Error("two users with one credential were accepted")
	}
	p.expect(t, p.open(t, s, 0, dst, []byte("old set")), []byte("old set"))
}

func (p Protocol) testKick(t *testing.T) {
	s, dst := Start(t, p, Waiting(patience), 0), echo(t)
	users := Users(p, 2)
	if err := s.Swap(users); err != nil {
		t.Fatal(err)
	}
	gone := p.open(t, s, 0, dst, []byte("a"))
	p.expect(t, gone, []byte("a"))
	stays := p.open(t, s, 1, dst, []byte("b"))
	p.expect(t, stays, []byte("b"))
	users[0].Meter.(*Meter).Kick()
	if _, err := gone.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a kicked connection: %v", err)
	}
	stays.Write([]byte("c"))
	if _, err := io.ReadFull(stays, make([]byte, 1)); err != nil {
		t.Errorf("another user's connection: %v", err)
	}
}

// testGarbage sends random bytes and cut headers: each gets silence for the handshake's time and
// then an orderly end, whatever it was.
func (p Protocol) testGarbage(t *testing.T) {
	s, dst := Start(t, p, option.Stream{}, 1), echo(t)
	header := p.Header(p.Account(0), dst)
	warm := s.Dial(t)
	warm.Write([]byte("garbage"))
	silence(warm)
	warm.Close()
	settle(s)
	goroutines, files := runtime.NumGoroutine(), openFiles()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 600)
	for i := range flights {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			first := garbage(i, header)
			start := time.Now()
			c, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(start.Add(30 * time.Second))
			c.Write(first)
			late := time.Since(start) >= handshake // the end may have come before: then the kernel resets
			if err := silence(c); err != nil && !(late && errors.Is(err, syscall.ECONNRESET)) {
				t.Errorf("%.40q: %v", first, err)
			}
			if d := time.Since(start); d < handshake-50*time.Millisecond {
				t.Errorf("%.40q: closed after %s, which tells it from other garbage", first, d)
			}
		})
	}
	wg.Wait()
	settle(s)
	for range 6000 { // the last ones may be on their way out
		if runtime.NumGoroutine() <= goroutines+2 && openFiles() <= files {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before; %d open files, %d before", runtime.NumGoroutine(), goroutines, openFiles(), files)
}

// garbage is the first flight number i: random bytes, a cut header, or a header with one wrong bit
// in the credential's part.
func garbage(i int, header []byte) []byte {
	switch i % 3 {
	case 0:
		n, _ := rand.Int(rand.Reader, big.NewInt(600))
		b := make([]byte, n.Int64()+1)
		rand.Read(b)
		return b
	case 1:
		return header[:1+mrand.IntN(len(header)-1)]
	}
	b := bytes.Clone(header)
	b[1+mrand.IntN(5)] ^= 1 // VLESS ignores bytes 6 and 7 of a UUID
	return b
}

// settle waits until the server has let go of what it served.
func settle(s *Server) {
	in, ok := s.Inbound.(interface{ Open() int })
	for range 6000 {
		if ok && in.Open() == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
}

func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
