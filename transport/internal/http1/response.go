package http1

import (
	"bytes"
	"errors"
	"fmt"

	"heki/internal/netio"
)

// ErrBadResponse says that a server's answer is not HTTP/1, or its head is too long.
var ErrBadResponse = errors.New("not an answer in HTTP/1")

// Response is the head of an answer. Its fields belong to the bytes it was parsed from.
type Response struct {
	Status int
	Fields
}

// ParseResponse decodes the head at the start of b and returns its length; what follows is payload.
// While b is only the start of a head the error is ErrShort; any other wraps ErrBadResponse and is
// final. It keeps references to b.
func ParseResponse(b []byte) (Response, int, error) {
	const version = "HTTP/1."
	n := min(len(b), len(version))
	if string(b[:n]) != version[:n] {
		return Response{}, 0, fmt.Errorf("%w: it begins with %.16q", ErrBadResponse, b)
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 && len(b) < MaxHead {
		return Response{}, 0, ErrShort
	}
	if end < 0 || end+4 > MaxHead {
		return Response{}, 0, fmt.Errorf("%w: head too long", ErrBadResponse)
	}
	line, fields, _ := bytes.Cut(b[:end+2], []byte("\r\n"))
	// HTTP/1.1 200 OK
	if len(line) < len(version)+5 || line[len(version)+1] != ' ' || len(line) > len(version)+5 && line[len(version)+5] != ' ' {
		return Response{}, 0, fmt.Errorf("%w: %.32q", ErrBadResponse, line)
	}
	status := 0
	for _, c := range line[len(version)+2:][:3] {
		if c < '0' || c > '9' {
			return Response{}, 0, fmt.Errorf("%w: %.32q", ErrBadResponse, line)
		}
		status = 10*status + int(c-'0')
	}
	return Response{Status: status, Fields: fields}, end + 4, nil
}

// ReadResponse reads one head from c without consuming it and returns its length. Its slices are
// valid until the next read of c.
func ReadResponse(c *netio.Conn) (Response, int, error) {
	for {
		r, n, err := ParseResponse(c.Buffered())
		if !errors.Is(err, ErrShort) {
			return r, n, err
		}
		if _, err := c.PeekMore(); err != nil {
			return Response{}, 0, err
		}
	}
}
