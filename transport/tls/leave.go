package tls

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/netio"
)

// A protocol may leave TLS in the middle of a connection and go on with NetConn, each direction for
// itself, as Vision does: WaitRecord and then Leave for reading, WriteLast for writing.

var (
	// ErrLeft ends the use of a direction that has left TLS.
	ErrLeft = errors.New("the connection has left TLS")
	// ErrCannotLeave says that a connection has to stay in TLS.
	ErrCannotLeave = errors.New("cannot leave TLS")
)

// CanLeave returns nil when the connection may leave TLS: the version has to be 1.3, whose records
// hide what they carry, and the library's fields known.
func (c *Conn) CanLeave() error {
	if v := c.ConnectionState().Version; v != tls.VersionTLS13 {
		return fmt.Errorf("%w: the version is %s, must be TLS 1.3", ErrCannotLeave, tls.VersionName(v))
	}
	if c.slow != nil {
		return fmt.Errorf("%w: heki was built with a TLS library that it does not know", ErrCannotLeave)
	}
	return nil
}

// WaitRecord is WaitReadBuffer for the data of one record. What follows in the stream is not looked
// at, as it may be no TLS any more.
func (c *Conn) WaitRecord() (*buf.Buffer, error) {
	if c.slow != nil {
		return nil, ErrCannotLeave
	}
	return c.collect((*Conn).readRecord)
}

// readRecord decrypts what is left of a record, else the next one, which is there. It hides from
// crypto/tls what follows: that looks for an alert there.
func (c *Conn) readRecord(b *buf.Buffer) error {
	in := c.in.raw
	all, n := in.Bytes(), 0
	if c.in.plain.Len() == 0 {
		n = min(len(all), recordHeader+int(all[3])<<8+int(all[4]))
	}
	*in = *bytes.NewBuffer(all[:n:n])
	m, err := c.engine.Read(b.FreeBytes())
	b.Truncate(b.Len() + m)
	*in = *bytes.NewBuffer(all[n:])
	if errors.Is(err, errAgain) {
		return nil
	}
	return c.note(err)
}

// Leave ends TLS for reading. It returns what was read from NetConn and not yet returned, which comes
// before everything that NetConn has: plaintext of a record that is decrypted, then what follows that
// record, as it is. The buffer, nil when there is nothing, is the caller's, for netio.Put.
//
// It is for the reading goroutine.
func (c *Conn) Leave() *buf.Buffer {
	if c.slow != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	raw, plain := c.in.raw, c.in.plain
	var b *buf.Buffer
	if n := plain.Len() + raw.Len(); n > netio.BufferSize {
		b = netio.GetPacket()
	} else if n > 0 {
		b = netio.Get()
	}
	if b != nil {
		_, _ = plain.Read(b.Extend(plain.Len()))
		_, _ = raw.Read(b.Extend(raw.Len()))
		netio.Filled(b)
	}
	_ = c.note(ErrLeft)
	return b
}

// WriteLast writes p, 1 to 16384 bytes, as the last of TLS: nothing of it, no close_notify either,
// follows on NetConn.
func (c *Conn) WriteLast(p []byte) error {
	if len(p) == 0 || len(p) > maxPlaintext || c.slow != nil {
		return ErrCannotLeave
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.lower.setLast(len(p))
	_, err := c.engine.Write(p)
	return err
}

// setLast ends TLS after n bytes of plaintext.
func (l *lower) setLast(n int) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	l.last = n
}
