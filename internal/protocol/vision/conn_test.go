package vision

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
	"heki/internal/protocol/wire/wiretest"
)

// fakeTLS is an Outer of records that are ready, over a socket that has bytes too.
type fakeTLS struct {
	wire.Conn
	records []any  // what WaitRecord returns: string or error
	ahead   string // what Leave returns
	socket  fakeSocket
	written []string // inside TLS
	last    bool
	closed  bool
}

type fakeSocket struct {
	net.Conn
	in      *strings.Reader
	out     bytes.Buffer
	closed  bool
	written bool // the writing side is closed
}

func (s *fakeSocket) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *fakeSocket) Write(p []byte) (int, error) { return s.out.Write(p) }
func (s *fakeSocket) Close() error                { s.closed = true; return nil }
func (s *fakeSocket) CloseWrite() error           { s.written = true; return nil }

func (f *fakeTLS) WaitRecord() (*buf.Buffer, error) {
	if len(f.records) == 0 {
		return nil, io.EOF
	}
	next := f.records[0]
	f.records = f.records[1:]
	if err, ok := next.(error); ok {
		return nil, err
	}
	return filled(next.(string)), nil
}

func filled(s string) *buf.Buffer {
	if s == "" {
		return nil
	}
	b := buf.NewSize(4 + len(s)) // less room in front than a uuid
	b.Resize(4, 0)
	_, _ = b.WriteString(s)
	return b
}

// Read reads what of a record fits.
func (f *fakeTLS) Read(p []byte) (int, error) {
	b, err := f.WaitRecord()
	if err != nil {
		return 0, err
	}
	defer b.Release()
	n := copy(p, b.Bytes())
	if n < b.Len() {
		f.records = append([]any{string(b.From(n))}, f.records...)
	}
	return n, nil
}

func (f *fakeTLS) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }
func (f *fakeTLS) WaitReadBuffer() (*buf.Buffer, error)        { return f.WaitRecord() }
func (f *fakeTLS) Leave() *buf.Buffer                          { return filled(f.ahead) }
func (f *fakeTLS) NetConn() net.Conn                           { return &f.socket }

func (f *fakeTLS) Write(p []byte) (int, error) {
	if f.last {
		return 0, errors.New("after the last record")
	}
	f.written = append(f.written, string(p))
	return len(p), nil
}

func (f *fakeTLS) WriteLast(p []byte) error {
	_, err := f.Write(p)
	f.last = true
	return err
}

func (f *fakeTLS) Close() error      { f.closed = true; return nil }
func (f *fakeTLS) CloseWrite() error { f.written = append(f.written, "end"); return nil }

// socketWaiter is a waiter that reads.
type socketWaiter struct{ r io.Reader }

func (socketWaiter) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

func (w socketWaiter) WaitReadBuffer() (*buf.Buffer, error) {
	b := buf.NewSize(100)
	if _, err := b.ReadOnceFrom(w.r); err != nil {
		b.Release()
		return nil, err
	}
	return b, nil
}

func newFake(f *fakeTLS, ahead, socket string) (*Conn, *[]bool) {
	f.socket.in = strings.NewReader(socket)
	f.Conn = wiretest.New(strings.NewReader(""))
	var left []bool
	c := NewConn(f, f, Options{
		UUID: uuid, Seed: DefaultSeed(), Random: rand.IntN, Ahead: filled(ahead),
		Waiter: func(r io.Reader) N.ReadWaiter { return socketWaiter{r} },
		Direct: func(up bool) { left = append(left, up) },
	})
	return c, &left
}

// readAll reads with small reads, or through the waiter, to the end.
func readAll(c *Conn, wait bool) (string, error) {
	var all []byte
	for {
		p := make([]byte, 3)
		n, err := 0, error(nil)
		if wait {
			var b *buf.Buffer
			if b, err = c.WaitReadBuffer(); err == nil {
				p, n = bytes.Clone(b.Bytes()), b.Len()
				b.Release()
			}
		} else {
			n, err = c.Read(p)
		}
		all = append(all, p[:n]...)
		if err != nil {
			return string(all), err
		}
	}
}

func TestConnReads(t *testing.T) {
	direct, text := stream(CommandDirect)
	end, _ := stream(CommandEnd)
	for _, tt := range []struct {
		name                 string
		ahead                string
		records              []any
		behind, socket, want string
		left                 bool
	}{
		{"direct", string(direct), nil, "|ahead|", "socket", string(text) + "|ahead|socket", true},
		{"direct, nothing read ahead", "", []any{string(direct)}, "", "socket", string(text) + "socket", true},
		{"direct with an empty block", "", []any{string(AppendBlock(nil, uuid[:], CommandDirect, nil, 5))}, "ahead|", "socket", "ahead|socket", true},
		{"end", "", []any{string(end), "|more"}, "", "no", string(text) + "|more", false},
		{"uuid in parts", string(direct[:1]), []any{string(direct[1:15]), string(direct[15:])}, "", "", string(text), true},
		{"no uuid", "GET", []any{" / "}, "", "", "GET / ", false},
		{"the start of a uuid is all", string(uuid[:9]), nil, "", "", string(uuid[:9]), false},
		{"nothing", "", nil, "", "", "", false},
	} {
		for _, wait := range []bool{false, true} {
			c, left := newFake(&fakeTLS{records: append([]any(nil), tt.records...), ahead: tt.behind}, tt.ahead, tt.socket)
			got, err := readAll(c, wait)
			if got != tt.want || err != io.EOF || (len(*left) > 0) != tt.left {
				t.Errorf("%s (wait %v): %q, %v, left %v; want %q", tt.name, wait, got, err, *left, tt.want)
			}
			if replaceable := c.ReaderReplaceable(); replaceable != (tt.want != "") {
				t.Errorf("%s: replaceable is %v", tt.name, replaceable)
			}
			if socket := c.UpstreamReader() == c.outer.NetConn(); socket != tt.left {
				t.Errorf("%s: the reader is replaced by the socket: %v", tt.name, socket)
			}
		}
	}
}

// A deadline between two pieces of the uuid, or of a block, loses nothing.
func TestConnDeadline(t *testing.T) {
	wire, text := stream(CommandEnd)
	c, _ := newFake(&fakeTLS{records: []any{
		os.ErrDeadlineExceeded, string(wire[:7]), os.ErrDeadlineExceeded, string(wire[7:1040]), os.ErrDeadlineExceeded, string(wire[1040:]),
	}}, "", "")
	got, late := "", 0
	for {
		part, err := readAll(c, true)
		got += part
		if err == io.EOF {
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		late++
	}
	if got != string(text) || late != 3 {
		t.Errorf("%q after %d deadlines", got, late)
	}
}

func TestConnBadBlock(t *testing.T) {
	c, _ := newFake(&fakeTLS{records: []any{string(uuid[:]) + "\x07"}}, "", "")
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrBadRequest) {
		t.Errorf("err = %v", err)
	}
}

func TestConnWrites(t *testing.T) {
	f := new(fakeTLS)
	c, left := newFake(f, "", "")
	data := "\x17\x03\x03\x00\x03abc"
	var sent string
	write := func(s string) {
		t.Helper()
		if err := c.WriteBuffer(filled(s)); err != nil {
			t.Fatal(err)
		}
		sent += s
	}
	write(string(hello(0x1301, true)))
	big := strings.Repeat("x", 16000)
	write("\x17\x03\x03\x3e\x80" + big)
	c.filter.UpEnded()
	if c.WriterReplaceable() || c.UpstreamWriter() != net.Conn(f) {
		t.Error("replaceable while it pads")
	}
	write(data + data[:4])
	if !c.WriterReplaceable() || c.UpstreamWriter() != net.Conn(&f.socket) || len(*left) != 1 || (*left)[0] {
		t.Errorf("left = %v", *left)
	}
	write(data[4:])

	var u Unpadder
	var blocks [][]byte
	for _, block := range f.written {
		if len(block) > MaxBlock {
			t.Errorf("a block of %d bytes", len(block))
		}
		blocks = append(blocks, []byte(block))
	}
	got, err := unpad(&u, blocks...)
	if err != nil || u.Mode() != ModeDirect || string(got)+f.socket.out.String() != sent {
		t.Errorf("%d bytes in blocks, %q beside them, mode %d, %v", len(got), &f.socket.out, u.Mode(), err)
	}
	if f.socket.out.String() != data[:4]+data[4:] {
		t.Errorf("on the socket: %q", &f.socket.out)
	}
	if err := errors.Join(c.CloseWrite(), c.Close()); err != nil || !f.socket.written || !f.socket.closed || f.closed {
		t.Errorf("closed %+v, TLS %v, %v", f.socket.closed, f.closed, err)
	}
}

// What is no TLS is padded for some packets, and then ends as TLS does.
func TestConnWritesPlain(t *testing.T) {
	f := new(fakeTLS)
	c, _ := newFake(f, "", "")
	for i := 0; !c.WriterReplaceable(); i++ {
		if i > packets {
			t.Fatal("pads for ever")
		}
		if n, err := c.Write([]byte("hello")); n != 5 || err != nil {
			t.Fatal(n, err)
		}
	}
	_, _ = c.Write([]byte("plain"))
	if err := errors.Join(c.CloseWrite(), c.Close()); err != nil || f.socket.closed || !f.closed {
		t.Errorf("err = %v, socket closed: %v", err, f.socket.closed)
	}
	if n := len(f.written); n < 2 || f.written[n-2] != "plain" || f.written[n-1] != "end" {
		t.Errorf("written: %q", f.written)
	}
}
