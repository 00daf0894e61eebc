package http1

import (
	"errors"
	"net"
	"time"

	"heki/internal/netio"
)

const (
	lingerTime  = 2 * time.Second // a client that goes on sending after its answer
	lingerBytes = 64 << 10
)

// Read reads one request head from c without consuming it and returns its length. Its slices are
// valid until the next read of c. Bytes that cannot become a request fail at once with a
// *StatusError; the time is bounded by c's deadline.
func Read(c *netio.Conn) (Request, int, error) {
	seen := 0
	for {
		head := c.Buffered()
		if len(head) == seen {
			var err error
			if head, err = c.PeekMore(); err != nil {
				return Request{}, 0, err
			}
		}
		n, err := Scan(head, seen)
		if errors.Is(err, ErrShort) {
			seen = len(head)
			continue
		}
		if err != nil {
			return Request{}, 0, err
		}
		r, err := Parse(head[:n])
		return r, n, err
	}
}

// Linger closes c after its last answer: it ends the writing side and reads for a moment what the
// client still sends, because closing with unread bytes would reset the connection and take the
// answer with it.
func Linger(c net.Conn) {
	defer func() { _ = c.Close() }()
	if netio.CloseWrite(c) != nil || c.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	b := netio.Get()
	defer netio.Put(b)
	for total := 0; total < lingerBytes; {
		n, err := c.Read(b.FreeBytes())
		if err != nil {
			return
		}
		total += n
	}
}
