package tls

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"

	utls "github.com/metacubex/utls"
)

// layout is where crypto/tls, or metacubex/utls, keeps what it has read. It is the only reach into
// another package's private fields in heki; TestLayout fails when a release of either moves them, and
// the code then falls back to reading through an ordinary buffer.
//
// What is done through it, always by the one goroutine that reads and between two calls of
// (*tls.Conn).Read: rawInput gets a pooled buffer when there is ciphertext and loses it when that is
// used up, and rawInput and input are looked at or taken out.
type layout struct {
	known    bool
	rawInput uintptr // bytes.Buffer: ciphertext, starting with a record header
	input    uintptr // bytes.Reader: plaintext of the current record, inside rawInput's memory
	hand     uintptr // bytes.Buffer: handshake messages, a copy
}

// They never change.
var (
	connLayout = findLayout(reflect.TypeFor[tls.Conn]())
	utlsLayout = findLayout(reflect.TypeFor[utls.Conn]())
)

func findLayout(t reflect.Type) layout {
	rawInput, ok1 := t.FieldByName("rawInput")
	input, ok2 := t.FieldByName("input")
	hand, ok3 := t.FieldByName("hand")
	buffer := reflect.TypeFor[bytes.Buffer]()
	return layout{
		known: ok1 && ok2 && ok3 && rawInput.Type == buffer && hand.Type == buffer &&
			input.Type == reflect.TypeFor[bytes.Reader](),
		rawInput: rawInput.Offset,
		input:    input.Offset,
		hand:     hand.Offset,
	}
}

// buffers are the fields of one connection.
type buffers struct {
	raw   *bytes.Buffer
	plain *bytes.Reader
	hand  *bytes.Buffer
}

// of returns the fields of conn, which points at a value of l's type, or nil when they are not known.
func (l layout) of(conn unsafe.Pointer) *buffers {
	if !l.known {
		return nil
	}
	return &buffers{
		raw:   (*bytes.Buffer)(unsafe.Add(conn, l.rawInput)),
		plain: (*bytes.Reader)(unsafe.Add(conn, l.input)),
		hand:  (*bytes.Buffer)(unsafe.Add(conn, l.hand)),
	}
}

// dropHandshake frees what the handshake has grown, several KiB a connection.
func (b *buffers) dropHandshake() {
	if b.raw.Len() == 0 {
		*b.raw = bytes.Buffer{}
	}
	if b.hand.Len() == 0 {
		*b.hand = bytes.Buffer{}
	}
}
