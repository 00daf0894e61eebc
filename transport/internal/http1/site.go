package http1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"heki/internal/netio"
	"heki/transport/internal/web"
)

// maxRequests ends a connection that only asks for pages; nginx has 1000.
const maxRequests = 100

// MaxBody is the longest request body in bytes that is read, nginx's client_max_body_size.
const MaxBody = 1 << 20

// ErrRefused says that a client asked for pages and no stream.
var ErrRefused = errors.New("no stream was asked for")

// Site is a web server without content.
type Site struct {
	Name string // of the Server header; default ServerName
}

// Await answers requests on c with pages until match returns 0 for one, and returns that: its head,
// of n bytes, is not consumed, and its slices are valid until the next read of c. match returns the
// status of the page otherwise. After an error, which wraps ErrRefused, c is closed. The time is
// bounded by c's deadline, at which c is closed without a word.
func (s *Site) Await(c *netio.Conn, match func(*Request) int) (r Request, n int, err error) {
	for i := range maxRequests {
		r, n, err = Read(c)
		var refused *StatusError
		if errors.As(err, &refused) {
			page := Refusal(&r, refused)
			return r, 0, s.end(c, &page, refused.Cause)
		}
		if err != nil {
			_ = c.Close()
			return r, 0, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		status := match(&r)
		if status == 0 {
			return r, n, nil
		}
		status = r.pageFor(status, c.Buffered()[:n])
		if err := s.answer(c, &r, n, status, i == maxRequests-1); err != nil {
			return r, 0, err
		}
	}
	return r, 0, ErrRefused // not reached: the last page ends the connection
}

// Serve answers every request on c with a page and closes c in the end.
func (s *Site) Serve(c *netio.Conn) error {
	_, _, err := s.Await(c, NotFound)
	return err
}

// Source is the client that r names when peer is in trusted; see web.Source.
func Source(trusted []netip.Prefix, peer net.Addr, r *Request) netip.AddrPort {
	forwarded, _ := r.Get("X-Forwarded-For")
	realIP, _ := r.Get("X-Real-IP")
	return web.Source(trusted, peer, forwarded, realIP)
}

// NotFound is the status of an ordinary request where there is nothing: files are for GET, HEAD and
// POST only.
func NotFound(r *Request) int { return NotFoundFor(string(r.Method)) }

// NotFoundFor is NotFound for a method.
func NotFoundFor(method string) int {
	switch method {
	case "GET", "HEAD", "POST":
		return 404
	}
	return 405
}

// pageFor returns status, or that of what nginx minds before it looks for a page. A user's request may
// have all of that. head is that of r.
func (r *Request) pageFor(status int, head []byte) int {
	line, fields, _ := bytes.Cut(head[emptyLines(head):], []byte{'\n'})
	switch {
	case len(line) >= maxLine:
		return 414
	case !StaysInside(r.Path):
		return 400
	}
	for field := range bytes.SplitSeq(fields, []byte{'\n'}) {
		if len(field) >= maxLine {
			return 494
		}
	}
	if r.Body > MaxBody {
		return 413
	}
	return status
}

// answer sends a page, and passes over the request and its body when another one may follow. After
// an error c is closed.
func (s *Site) answer(c *netio.Conn, r *Request, n, status int, last bool) error {
	page := &Page{
		Status:    status,
		KeepAlive: r.KeepAlive && !last && r.Body >= 0 && (status == 404 || status == 405),
		NoBody:    string(r.Method) == "HEAD",
		Padding:   Padded(r) && status != 414 && StaysInside(r.Path), // the line is judged before the fields
	}
	if !page.KeepAlive {
		return s.end(c, page, fmt.Sprintf("%.16q %.64q", r.Method, r.Path))
	}
	body := int(r.Body)
	_, _ = c.Discard(n) // n bytes are buffered
	err := s.send(c, page)
	if err == nil {
		_, err = c.Discard(body)
	}
	if err != nil {
		_ = c.Close()
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

func (s *Site) send(c io.Writer, p *Page) error {
	p.Now, p.Server = time.Now(), s.Name
	_, err := c.Write(p.Append(nil))
	return err
}

// end sends the last page of a connection.
func (s *Site) end(c net.Conn, p *Page, cause string) error {
	if err := s.send(c, p); err != nil {
		_ = c.Close()
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	Linger(c)
	return fmt.Errorf("%w: %s, answered with %d", ErrRefused, cause, p.Status)
}
