package inbound

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"heki/constant"
	"heki/internal/netio"
)

// ReadHeader reads until parse is content with the start of the stream, takes the header off and
// clears the handshake deadline. What follows stays readable in conn, so does everything when parse
// refuses: the error is then for Reject.
//
// While the bytes are only a prefix of a header, parse returns an error for which short is true.
func ReadHeader[T any](conn *netio.Conn, parse func([]byte) (T, int, error), short error) (T, error) {
	header, err := ReadPart(conn, parse, short)
	if err != nil {
		return header, err
	}
	return header, conn.SetDeadline(time.Time{})
}

// ReadPart is ReadHeader for a header that another one follows: the handshake deadline stays.
func ReadPart[T any](conn *netio.Conn, parse func([]byte) (T, int, error), short error) (T, error) {
	var zero T
	for {
		if b := conn.Buffered(); len(b) > 0 {
			header, n, err := parse(b)
			if err == nil {
				if _, err := conn.Discard(n); err != nil {
					return zero, err
				}
				return header, nil
			}
			if !errors.Is(err, short) {
				return zero, Reject(err)
			}
			if len(b) >= constant.HeaderBuffer {
				return zero, Reject(fmt.Errorf("no header in %d bytes", len(b)))
			}
		}
		if _, err := conn.PeekMore(); err != nil {
			return zero, incomplete(conn, err)
		}
	}
}

// incomplete tells a stream that ended or paused in the middle of a header, which a fallback may
// still want to see, from one that never said anything.
func incomplete(conn *netio.Conn, err error) error {
	var timeout net.Error
	late := errors.As(err, &timeout) && timeout.Timeout()
	if len(conn.Buffered()) == 0 && !late {
		return fmt.Errorf("before a header: %w", err)
	}
	if late || err == io.ErrUnexpectedEOF {
		return Reject(fmt.Errorf("incomplete header: %w", err))
	}
	return fmt.Errorf("in a header: %w", err)
}

// Silence reads and forgets what conn brings until the handshake deadline, for a stream that is not a
// user's and of which something is consumed, so that nobody else could make sense of it. It returns
// reason.
func Silence(conn net.Conn, reason error) error {
	drain(conn)
	return reason
}
