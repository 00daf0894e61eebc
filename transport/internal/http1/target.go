package http1

import "bytes"

// maxLine is the longest line of a head in bytes that nginx reads: one of its large_client_header_buffers.
// A user's may be longer.
const maxLine = 8 << 10

// parseTarget takes a target apart.
func (r *Request) parseTarget(target []byte) error {
	for _, c := range target {
		if c < 0x20 || c == 0x7f {
			return refuse(400, "control character in the target")
		}
	}
	if len(target) == 0 {
		return refuse(400, "no target")
	}
	if target[0] != '/' { // absolute form, as sent to proxies: http://host/path
		scheme, rest, ok := bytes.Cut(target, []byte("://"))
		if !ok || !isAlpha(scheme) {
			return refuse(400, "bad target")
		}
		i := bytes.IndexAny(rest, "/?")
		if i < 0 {
			i = len(rest)
		}
		r.Host, target = rest[:i], rest[i:]
		if !isAuthority(r.Host) {
			return refuse(400, "bad host in the target")
		}
	}
	target, _, _ = bytes.Cut(target, []byte{'#'})
	r.Path, r.Query, _ = bytes.Cut(target, []byte{'?'})
	if len(r.Path) == 0 {
		r.Path = []byte{'/'}
	}
	return nil
}

// isAuthority says whether b may be the host, with or without a port, of a target in absolute form.
func isAuthority(b []byte) bool {
	host, port := b, []byte(nil)
	if i := bytes.LastIndexByte(b, ':'); i > bytes.LastIndexByte(b, ']') {
		host, port = b[:i], b[i+1:]
	}
	for _, c := range port {
		if c < '0' || c > '9' {
			return false
		}
	}
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		return true
	}
	for _, c := range host {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return len(host) > 0
}

func isAlpha(b []byte) bool {
	for _, c := range b {
		if c |= 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return len(b) > 0
}

func isNumber(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// isOld says whether a request line is HTTP/0.9's, without a version: the whole of a request.
func isOld(line []byte) bool {
	_, rest, _ := bytes.Cut(line, []byte{' '})
	rest = bytes.Trim(rest, " ")
	return len(rest) > 0 && bytes.IndexByte(rest, ' ') < 0
}

// refuseOld is what an HTTP/0.9 request gets: only GET is known there.
func (r *Request) refuseOld() error {
	status := 404
	if string(r.Method) != "GET" || !StaysInside(r.Path) {
		status = 400
	}
	return &StatusError{Status: status, Cause: "HTTP/0.9", Bare: true}
}

// StaysInside says whether a path is one that nginx looks for: its escapes are whole and none is a NUL,
// and its dots do not lead above the root.
func StaysInside(path []byte) bool {
	depth, length, dots := 0, 0, 0 // length and dots of the segment, its bytes and how many of them are dots
	leave := func() bool {
		switch {
		case length == 2 && dots == 2:
			depth--
		case length > 0 && !(length == 1 && dots == 1):
			depth++
		}
		length, dots = 0, 0
		return depth >= 0
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			var ok bool
			if c, ok = escaped(path[i+1:]); !ok {
				return false
			}
			i += 2
		}
		switch {
		case c == '/':
			if !leave() {
				return false
			}
			continue
		case c == '.':
			dots++
		}
		length++
	}
	return leave()
}

// escaped decodes the two digits after a percent sign, which may be of any byte but NUL.
func escaped(b []byte) (c byte, ok bool) {
	if len(b) < 2 {
		return 0, false
	}
	for _, d := range b[:2] {
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case d|0x20 >= 'a' && d|0x20 <= 'f':
			d = d | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		c = c<<4 | d
	}
	return c, c != 0
}
