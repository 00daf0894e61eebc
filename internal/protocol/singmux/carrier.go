package singmux

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"net"
	"sync"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

const (
	paddedWrites  = 16 // each way
	paddingHeader = 4
	minPadding    = 256 // bytes, of a padded write
	maxPadding    = 767
	maxPadded     = 65535

	yamuxHeader = 12
)

// carrier is the connection as the sessions see it. It waits for data without a buffer, takes off and
// adds padding, and sends a frame's header and payload in one write.
type carrier struct {
	wire.Conn
	front int // headroom of the inner connection

	reading sync.Mutex
	retired bool // nothing is read any more
	toRead  int  // padded writes of the client still to come
	data    int  // bytes of the present one
	padding int  // bytes behind those

	mu      sync.Mutex
	toWrite int  // padded writes still to be sent
	pairs   bool // yamux writes a data frame's header and payload apart
	header  [yamuxHeader]byte
	held    bool // header waits for its payload
}

func newCarrier(conn wire.Conn, h Hello) *carrier {
	c := &carrier{Conn: conn, front: N.CalculateFrontHeadroom(conn), pairs: h.Protocol == ProtocolYamux}
	if h.Padding {
		c.toRead, c.toWrite = paddedWrites, paddedWrites
	}
	return c
}

// retire waits for the library's reader, which may outlive its session, and keeps it off the connection,
// which is closed: the caller of Serve gives up next what was read ahead.
func (c *carrier) retire() {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.retired = true
}

// Read implements io.Reader.
func (c *carrier) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.retired {
		return 0, net.ErrClosed
	}
	if err := c.next(); err != nil {
		return 0, err
	}
	if _, err := c.Peek(1); err != nil { // a Source waits without a buffer here
		if c.data > 0 && err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	if c.data == 0 {
		return c.Conn.Read(p)
	}
	n, err := c.Conn.Read(p[:min(len(p), c.data)])
	c.data -= n
	return n, err
}

// next finds the data of the next padded write, while there are any.
//
//	| data length u16be | padding length u16be | data | padding |
func (c *carrier) next() error {
	for c.data == 0 && (c.padding > 0 || c.toRead > 0) {
		if c.padding > 0 {
			n, err := c.Discard(c.padding)
			c.padding -= n
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return err
			}
			continue
		}
		b, err := wire.PeekFrame(c.Conn, 0, paddingHeader)
		if err != nil {
			return err
		}
		data, padding := int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))
		if _, err := c.Discard(paddingHeader); err != nil {
			return err
		}
		c.data, c.padding = data, padding
		c.toRead--
	}
	return nil
}

// Write implements io.Writer.
func (c *carrier) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held {
		c.held = false
		n, err := c.send(c.header[:], p)
		return max(0, n-yamuxHeader), err
	}
	if c.pairs && isDataHeader(p) {
		c.held = true
		return copy(c.header[:], p), nil
	}
	return c.send(nil, p)
}

// isDataHeader tells a header of yamux that its payload follows.
func isDataHeader(p []byte) bool {
	return len(p) == yamuxHeader && p[1] == 0 && binary.BigEndian.Uint32(p[8:]) > 0
}

// WriteBuffers writes the two parts of a frame at once. smux asks for it.
func (c *carrier) WriteBuffers(parts [][]byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(parts[1]) == 0 {
		return c.send(nil, parts[0])
	}
	return c.send(parts[0], parts[1])
}

// send writes head, which is short, and p. It returns how many bytes of both went.
func (c *carrier) send(head, p []byte) (int, error) {
	sent := 0
	for c.toWrite > 0 && len(head)+len(p) > 0 {
		n := min(len(p), maxPadded-len(head))
		if err := c.sendPadded(head, p[:n]); err != nil {
			return sent, err
		}
		sent += len(head) + n
		head, p = nil, p[n:]
	}
	switch {
	case len(head)+len(p) == 0:
		return sent, nil
	case len(head) == 0:
		n, err := c.Conn.Write(p)
		return sent + n, err
	}
	b := buf.NewSize(c.front + len(head) + len(p))
	b.Resize(c.front, 0)
	_, _ = b.Write(head)
	_, _ = b.Write(p)
	if err := wire.WriteBuffer(c.Conn, b, c.front); err != nil {
		return sent, err
	}
	return sent + len(head) + len(p), nil
}

// sendPadded writes at most maxPadded bytes, and zeros behind them.
func (c *carrier) sendPadded(head, p []byte) error {
	var random [2]byte
	rand.Read(random[:])
	padding := minPadding + int(binary.BigEndian.Uint16(random[:]))%(maxPadding-minPadding+1)
	b := buf.NewSize(c.front + paddingHeader + len(head) + len(p) + padding)
	b.Resize(c.front, 0)
	start := b.Extend(paddingHeader)
	binary.BigEndian.PutUint16(start, uint16(len(head)+len(p)))
	binary.BigEndian.PutUint16(start[2:], uint16(padding))
	_, _ = b.Write(head)
	_, _ = b.Write(p)
	clear(b.Extend(padding)) // pooled memory: it has others' bytes
	c.toWrite--
	return wire.WriteBuffer(c.Conn, b, c.front)
}

// chunks lends the memory that payload is handed to a session in. The libraries may still read from it
// after a write has failed, while its caller's buffer is another connection's already; then it is not
// given back.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// writeChunks writes p to w without letting w see p itself.
func writeChunks(w io.Writer, p []byte) (n int, err error) {
	for n < len(p) {
		chunk := chunks.Get().(*[chunkSize]byte)
		m, err := w.Write(chunk[:copy(chunk[:], p[n:])])
		n += m
		if err != nil {
			return n, err
		}
		chunks.Put(chunk)
	}
	return n, nil
}
