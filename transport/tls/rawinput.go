package tls

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// layout is where crypto/tls keeps what it has read. It is the only reach into another package's
// private fields in heki; TestLayout fails when a Go release moves them, and the code then falls
// back to reading through an ordinary buffer.
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

// connLayout never changes.
var connLayout = findLayout(reflect.TypeFor[tls.Conn]())

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

func rawInput(c *tls.Conn) *bytes.Buffer {
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), connLayout.rawInput))
}

func input(c *tls.Conn) *bytes.Reader {
	return (*bytes.Reader)(unsafe.Add(unsafe.Pointer(c), connLayout.input))
}

// dropHandshake frees the buffers that the handshake has grown, several KiB a connection.
func dropHandshake(c *tls.Conn) {
	if b := rawInput(c); b.Len() == 0 {
		*b = bytes.Buffer{}
	}
	hand := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), connLayout.hand))
	if hand.Len() == 0 {
		*hand = bytes.Buffer{}
	}
}
