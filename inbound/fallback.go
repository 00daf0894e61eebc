package inbound

import (
	"bytes"
	stdtls "crypto/tls"
	"strings"

	"heki/constant"
	"heki/internal/netio"
	"heki/option"
)

// fallback picks the server for a rejected stream: by the path of the HTTP/1 request that it begins
// with, then by ALPN, then the one for all; nil is none.
func (s *Stream) fallback(conn *netio.Conn) *option.Server {
	if len(s.o.FallbackForPath) > 0 {
		if server, ok := serverFor(s.o.FallbackForPath, awaitPath(conn)); ok {
			return &server
		}
	}
	if len(s.o.FallbackForALPN) > 0 {
		if c, ok := conn.Conn.(interface {
			ConnectionState() stdtls.ConnectionState
		}); ok {
			if server, ok := s.o.FallbackForALPN[c.ConnectionState().NegotiatedProtocol]; ok {
				return &server
			}
		}
	}
	return s.o.Fallback
}

// serverFor picks the server for a path: its own, else that of the longest folder above it, which is an
// entry that ends in a slash.
func serverFor(servers map[string]option.Server, path string) (server option.Server, ok bool) {
	if server, ok = servers[path]; ok || path == "" {
		return server, ok
	}
	best := ""
	for folder, candidate := range servers {
		if strings.HasSuffix(folder, "/") && strings.HasPrefix(path, folder) && len(folder) > len(best) {
			best, server = folder, candidate
		}
	}
	return server, best != ""
}

// awaitPath waits until the path of conn's request is there, as a web server would, at most until the
// handshake deadline. It consumes nothing.
func awaitPath(conn *netio.Conn) string {
	for {
		b := conn.Buffered()
		path, more := requestPath(b)
		if !more || len(b) >= constant.HeaderBuffer {
			return path
		}
		if _, err := conn.PeekMore(); err != nil {
			return ""
		}
	}
}

// maxMethod is the longest method that is taken for one; UPDATEREDIRECTREF of RFC 4437 has 17 letters.
const maxMethod = 20

// requestPath returns the path of the HTTP/1 request that b begins with, as it was sent, without the
// query. The path is "" for whatever begins otherwise, and while more is true: b is the start of a
// request, the rest of whose path is still to come.
//
//	method SP path [? query] SP HTTP/1.1 CRLF
//
// Source: RFC 9112 §3
func requestPath(b []byte) (path string, more bool) {
	n := bytes.IndexFunc(b[:min(len(b), maxMethod+1)], func(r rune) bool { return (r < 'A' || r > 'Z') && r != '-' })
	switch {
	case n < 0:
		return "", len(b) <= maxMethod
	case n == 0 || b[n] != ' ':
		return "", false
	case n+1 == len(b):
		return "", true
	case b[n+1] != '/': // "*", a proxy's whole address, HTTP/2's preface
		return "", false
	}
	rest := b[n+1:]
	end := bytes.IndexFunc(rest, func(r rune) bool { return r <= ' ' || r == '?' })
	if end < 0 {
		return "", true
	}
	return string(rest[:end]), false
}
