package wire_test

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
	"heki/internal/protocol/wire/wiretest"
)

func TestPeekFrame(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		have, n  int
		err      error
	}{
		{"all there", "abc", 0, 3, nil},
		{"end between frames", "", 0, 2, io.EOF},
		{"end inside", "a", 0, 2, io.ErrUnexpectedEOF},
		{"end after what was seen", "", 2, 1, io.ErrUnexpectedEOF},
	} {
		b, err := wire.PeekFrame(bufio.NewReader(strings.NewReader(tt.in)), tt.have, tt.n)
		if err != tt.err || err == nil && string(b) != tt.in {
			t.Errorf("%s: %q, %v, want %v", tt.name, b, err, tt.err)
		}
	}
	broken := bufio.NewReader(iotest.ErrReader(iotest.ErrTimeout))
	if _, err := wire.PeekFrame(broken, 0, 1); err != iotest.ErrTimeout {
		t.Errorf("other errors: %v", err)
	}
	if _, err := wire.PeekFrame(lazy{}, 0, 1); err != io.ErrNoProgress {
		t.Errorf("a source that breaks its contract: %v, want ErrNoProgress", err)
	}
}

// lazy returns less than asked for, without an error.
type lazy struct{ wire.Source }

func (lazy) Peek(int) ([]byte, error) { return nil, nil }

// extended is a connection that takes buffers and wants three bytes in front.
type extended struct {
	*wiretest.Fake
	buffers int
}

func (e *extended) FrontHeadroom() int { return 3 }

func (e *extended) WriteBuffer(b *buf.Buffer) error {
	e.buffers++
	copy(b.ExtendHeader(3), "abc")
	_, err := e.Write(b.Bytes())
	b.Release()
	return err
}

func TestWriteBuffer(t *testing.T) {
	e := &extended{Fake: wiretest.New(strings.NewReader(""))}
	for _, room := range []int{0, 2, 3, 9} {
		b := buf.NewSize(20)
		b.Resize(room, 0)
		_, _ = b.WriteString("x")
		if err := wire.WriteBuffer(e, b, N.CalculateFrontHeadroom(e)); err != nil {
			t.Error(err)
		}
	}
	if got, want := e.Writes(), []string{"x", "x", "abcx", "abcx"}; !slices.Equal(got, want) || e.buffers != 2 {
		t.Errorf("writes = %q, %d of buffers, want %q", got, e.buffers, want)
	}
}

func TestHeadroom(t *testing.T) {
	b := buf.NewSize(10)
	b.Resize(4, 0)
	_, _ = b.WriteString("abc")
	if wire.Headroom(b, 4) != b {
		t.Error("a buffer with the room is copied")
	}
	c := wire.Headroom(b, 5)
	if c.Start() != 5 || string(c.Bytes()) != "abc" {
		t.Errorf("%q at %d", c.Bytes(), c.Start())
	}
	d := wire.Room(c, 5, c.FreeLen()+1)
	if d == c || d.Start() != 5 || string(d.Bytes()) != "abc" || d.FreeLen() < 1 {
		t.Errorf("%q at %d, %d free", d.Bytes(), d.Start(), d.FreeLen())
	}
	if wire.Room(d, 5, d.FreeLen()) != d {
		t.Error("a buffer with the room at both ends is copied")
	}
	d.Release()
}

func TestBody(t *testing.T) {
	b := wire.Body{Source: bufio.NewReader(strings.NewReader("hhone" + "hhtwo!" + "hhthree"))}
	dst := buf.NewSize(5)
	defer dst.Release()
	if err := b.Begin(2, 3); err != nil || b.Left() != 3 {
		t.Fatal(err)
	}
	if ok, err := b.ReadTo(dst); !ok || err != nil || string(dst.Bytes()) != "one" {
		t.Errorf("%q, %v, %v", dst.Bytes(), ok, err)
	}
	if err := b.Begin(2, 4); err != nil {
		t.Fatal(err)
	}
	if ok, err := b.ReadTo(dst); ok || err != nil || dst.Len() != 3 || b.Left() != 0 {
		t.Errorf("a payload without room: %v, %v, %d bytes, %d left", ok, err, dst.Len(), b.Left())
	}
	if err := b.Begin(2, 9); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut payload: %v, want ErrUnexpectedEOF", err)
	}
}
