package obfs

import "io"

// plain is no obfs at all.
type plain struct{}

func plainServer(*Server, Gate, io.Reader) Codec { return plain{} }

func plainClient(*Client, io.Reader) Codec { return plain{} }

// Decode implements Codec.
func (plain) Decode(dst, src []byte) (int, int, error) {
	n := copy(dst, src)
	return n, n, nil
}

// Greeting implements Codec.
func (plain) Greeting() []byte { return nil }

// Open implements Codec.
func (plain) Open(b []byte) []byte { return b }

// Close implements Codec.
func (plain) Close(b []byte, _ int) []byte { return b }

// Front implements Codec.
func (plain) Front() int { return 0 }

// Ready implements Codec.
func (plain) Ready() bool { return true }
