// Package http1 reads the heads of HTTP/1 requests and writes the error pages of an ordinary web
// server: what a scanner meets on a port that is none of its business. It does not follow RFC 9112
// to the letter but nginx (compared with a live 1.22), byte for byte where a client can see it. What differs: a
// chunked body ends the connection, and heads over MaxHead are too long, where nginx takes 32 KiB.
package http1

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// MaxHead is the longest accepted request head in bytes: what large proxies send, and 8 KiB of early
// data in base64.
const MaxHead = 16 << 10

// ErrShort says that the bytes are only the start of a head.
var ErrShort = errors.New("request head is not complete")

// StatusError refuses a request with a page; the connection cannot go on after it.
type StatusError struct {
	Status int
	Cause  string
	// Bare says that the request was of HTTP/0.9, whose answers have no head.
	Bare bool
}

func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Cause) }

func refuse(status int, cause string) error { return &StatusError{Status: status, Cause: cause} }

// Request is one request head. Its slices belong to the bytes it was parsed from.
type Request struct {
	Method []byte
	Path   []byte // before the question mark, still percent-encoded
	Query  []byte // after the question mark
	Host   []byte // as sent, with a port
	Minor  int    // HTTP/1.Minor
	// KeepAlive says that another request may follow on the connection.
	KeepAlive bool
	// Body is the length of the body in bytes, -1 when it is chunked.
	Body int64
	Fields
}

// Scan looks for the end of a head in b, of which the first seen bytes were there last time without
// one. It returns the length of the head, or ErrShort, or a *StatusError as soon as the bytes cannot
// become a request.
func Scan(b []byte, seen int) (int, error) {
	skip := emptyLines(b)
	if err := startsLikeRequest(b[skip:]); err != nil {
		return 0, err
	}
	if end := bytes.IndexByte(b[skip:], '\n') + 1; end > 0 && isOld(trimCR(b[skip:][:end-1])) {
		return skip + end, nil
	}
	from := max(skip, seen-3)
	for from < len(b) {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			break
		}
		from += i + 1
		if rest := b[from:]; len(rest) > 0 && rest[0] == '\n' {
			return checkLength(b, from+1)
		} else if len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n' {
			return checkLength(b, from+2)
		}
	}
	if len(b) >= MaxHead {
		return checkLength(b, len(b)+1)
	}
	return 0, ErrShort
}

// emptyLines counts the line ends before a request line, which servers skip.
func emptyLines(b []byte) int {
	n := 0
	for n < len(b) && (b[n] == '\r' || b[n] == '\n') {
		n++
	}
	return n
}

// startsLikeRequest refuses what cannot be a method: garbage is answered at its first byte.
func startsLikeRequest(b []byte) error {
	for i, c := range b[:min(len(b), MaxHead)] {
		if c == ' ' && i > 0 {
			return nil
		}
		if (c < 'A' || c > 'Z') && c != '_' && c != '-' {
			return refuse(400, "bad method")
		}
	}
	return nil
}

func checkLength(b []byte, end int) (int, error) {
	if end <= MaxHead {
		return end, nil
	}
	if bytes.IndexByte(b[:min(len(b), MaxHead)], '\n') < 0 {
		return 0, refuse(414, "request line too long")
	}
	return 0, refuse(494, "request head too long")
}

// Parse decodes a head that Scan found to be complete. It keeps references to head.
func Parse(head []byte) (Request, error) {
	line, fields, _ := bytes.Cut(head[emptyLines(head):], []byte{'\n'})
	r := Request{Fields: fields}
	if err := r.parseLine(trimCR(line)); err != nil {
		return r, err
	}
	r.KeepAlive = r.Minor >= 1
	return r, r.parseFields()
}

func trimCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

func (r *Request) parseLine(line []byte) error {
	method, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok {
		return refuse(400, "bad request line")
	}
	r.Method = method
	target, version, _ := bytes.Cut(bytes.TrimLeft(rest, " "), []byte{' '})
	if err := r.parseTarget(target); err != nil {
		return err
	}
	if isOld(line) {
		return r.refuseOld()
	}
	return r.parseVersion(bytes.Trim(version, " "))
}

func (r *Request) parseVersion(v []byte) error {
	major, minor, ok := bytes.Cut(bytes.TrimPrefix(v, []byte("HTTP/")), []byte{'.'})
	if !ok || !bytes.HasPrefix(v, []byte("HTTP/")) || !isNumber(major) || major[0] == '0' {
		return refuse(400, "bad version")
	}
	if len(major) > 1 || major[0] > '1' {
		return refuse(505, "unknown version")
	}
	n, err := strconv.ParseUint(string(minor), 10, 16)
	if err != nil || n > 999 || !isNumber(minor) {
		return refuse(400, "bad version")
	}
	r.Minor = int(n)
	return nil
}
