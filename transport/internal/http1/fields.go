package http1

import (
	"bytes"
	"strconv"
)

// Fields are the header lines of a request or response.
type Fields []byte

// Get returns the value of the first header field of that name, compared without case, and how many
// there are.
func (f Fields) Get(name string) (value []byte, count int) {
	f.each(func(n, v []byte) {
		if !equalFold(n, name) {
			return
		}
		if count == 0 {
			value = v
		}
		count++
	})
	return value, count
}

// Has says whether a comma-separated field holds a token, compared without case.
func (f Fields) Has(name, token string) bool {
	found := false
	f.each(func(n, v []byte) {
		if found || !equalFold(n, name) {
			return
		}
		for part := range bytes.SplitSeq(v, []byte{','}) {
			if equalFold(bytes.Trim(part, " \t"), token) {
				found = true
				return
			}
		}
	})
	return found
}

// each calls found with every well-formed field. Lines without a colon are passed over, as nginx does.
func (f Fields) each(found func(name, value []byte)) {
	for line := range bytes.SplitSeq(f, []byte{'\n'}) {
		name, value, ok := bytes.Cut(trimCR(line), []byte{':'})
		if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") {
			continue
		}
		found(name, bytes.Trim(value, " \t"))
	}
}

// equalFold compares ASCII without case and without copying.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		d := s[i]
		if c == d {
			continue
		}
		if c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z' {
			return false
		}
	}
	return true
}

// parseFields checks the fields and reads those that say how the connection goes on.
func (r *Request) parseFields() error {
	if err := r.checkFields(); err != nil {
		return err
	}
	if err := r.parseHost(); err != nil {
		return err
	}
	if r.Has("Connection", "close") {
		r.KeepAlive = false
	} else if r.Has("Connection", "keep-alive") {
		r.KeepAlive = true
	}
	if err := r.parseLength(); err != nil {
		return err
	}
	if m := string(r.Method); m == "CONNECT" || m == "TRACE" {
		return refuse(405, m)
	}
	return nil
}

// checkFields refuses characters that are in no field. What follows the first bad line is no field then.
func (r *Request) checkFields() error {
	from := 0
	for line := range bytes.SplitSeq(r.Fields, []byte{'\n'}) {
		if len(line) > 0 && !isField(trimCR(line)) {
			r.Fields = r.Fields[:from]
			return refuse(400, "bad character in a header")
		}
		from += len(line) + 1
	}
	return nil
}

func isField(line []byte) bool {
	if bytes.ContainsAny(line, "\x00\r") {
		return false
	}
	name, _, _ := bytes.Cut(line, []byte{':'})
	for _, c := range name {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return len(name) > 0 || len(line) == 0
}

func (r *Request) parseHost() error {
	host, n := r.Get("Host")
	switch {
	case n > 1:
		return refuse(400, "several Host headers")
	case n == 0 && r.Minor >= 1:
		return refuse(400, "no Host header")
	case n == 1 && !validHost(host):
		return refuse(400, "bad Host header")
	}
	if r.Host == nil {
		r.Host = host
	}
	return nil
}

func validHost(host []byte) bool {
	for _, c := range host {
		if c <= 0x20 || c == 0x7f || c == '/' {
			return false
		}
	}
	return len(host) > 0
}

func (r *Request) parseLength() error {
	coding, codings := r.Get("Transfer-Encoding")
	length, lengths := r.Get("Content-Length")
	if codings > 0 {
		switch {
		case lengths > 0 || codings > 1 || r.Minor == 0:
			return refuse(400, "body length in two ways")
		case !equalFold(coding, "chunked"):
			return refuse(501, "unknown transfer encoding")
		}
		r.Body = -1
		return nil
	}
	if lengths == 0 {
		return nil
	}
	n, err := strconv.ParseInt(string(length), 10, 64)
	if lengths > 1 || err != nil || n < 0 || length[0] == '+' {
		return refuse(400, "bad Content-Length")
	}
	r.Body = n
	return nil
}
