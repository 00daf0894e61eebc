package ssr

import (
	"bufio"
	"net"
)

// deep looks ahead as far as netio.Conn does: it shows all that it has.
type deep struct {
	net.Conn
	r *bufio.Reader
}

func newDeep(c net.Conn) *deep { return &deep{c, bufio.NewReaderSize(c, bufferSize)} }

func (d *deep) Read(p []byte) (int, error) { return d.r.Read(p) }
func (d *deep) Discard(n int) (int, error) { return d.r.Discard(n) }
func (d *deep) Peek(n int) ([]byte, error) {
	if b, err := d.r.Peek(n); err != nil {
		return b, err
	}
	return d.r.Peek(d.r.Buffered())
}
