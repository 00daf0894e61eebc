package ws

import (
	"bytes"
	"encoding/base64"
	"time"

	"heki/transport/internal/http1"
	"heki/transport/internal/web"
)

const protocolHeader = "Sec-WebSocket-Protocol"

// match says whether a request opens a stream: status 0 and its early data. Otherwise it gets a page:
// with the right path too, unless it is a broken upgrade, so that the path is not given away by half
// a guess.
func (s *Server) match(r *http1.Request) (early []byte, status int) {
	if string(r.Method) != "GET" {
		return nil, http1.NotFound(r)
	}
	rest, ok := s.matchPath(r.Path)
	if !ok || !r.Has("Upgrade", "websocket") || !r.Has("Connection", "upgrade") {
		return nil, 404
	}
	if !s.hosts.Match(r.Host) {
		return nil, 404
	}
	version, _ := r.Get("Sec-WebSocket-Version")
	key, keys := r.Get("Sec-WebSocket-Key")
	if string(version) != "13" || keys != 1 || !validKey(key) || r.Minor < 1 || r.Body != 0 {
		return nil, 400
	}
	if len(rest) == 0 {
		if rest, _ = r.Get(protocolHeader); s.earlyHeader != "" {
			if v, n := r.Get(s.earlyHeader); n > 0 {
				rest = v
			}
		}
		early, _ = decodeEarly(rest) // else it is a genuine subprotocol
	} else if early, ok = decodeEarly(rest); !ok {
		return nil, 404
	}
	if len(early) > maxEarly {
		return nil, 400
	}
	return early, 0
}

// matchPath compares the path and returns what follows it when early data may stand there.
func (s *Server) matchPath(path []byte) (rest []byte, ok bool) {
	rest, ok = s.path.Rest(path)
	return rest, ok && (len(rest) == 0 || s.earlyInPath)
}

// decodeEarly reads base64 in either alphabet, padded or not.
func decodeEarly(b []byte) ([]byte, bool) {
	b = bytes.TrimRight(b, "=")
	if len(b) == 0 {
		return nil, false
	}
	text := make([]byte, len(b))
	for i, c := range b {
		switch c {
		case '+':
			c = '-'
		case '/':
			c = '_'
		case '\r', '\n': // which the decoder would skip
			return nil, false
		}
		text[i] = c
	}
	n, err := base64.RawURLEncoding.Decode(text, text)
	if err != nil {
		return nil, false
	}
	return text[:n], true
}

// validKey says whether a Sec-WebSocket-Key is base64 of 16 bytes.
func validKey(key []byte) bool {
	var raw [18]byte
	if len(key) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Decode(raw[:], key)
	return err == nil && n == 16
}

// accept writes the answer that opens a stream. The echoed subprotocol, which carried early data, is
// what browsers insist on.
func (s *Server) accept(r *http1.Request, early bool) []byte {
	key, _ := r.Get("Sec-WebSocket-Key")
	b := make([]byte, 0, 512)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\n"...)
	b = http1.AppendServerDate(b, s.site.Name, time.Now())
	b = append(b, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "...)
	b = append(append(b, web.AcceptKey(string(key))...), "\r\n"...)
	if protocol, n := r.Get(protocolHeader); n > 0 && early {
		b = append(b, protocolHeader+": "...)
		b = append(b, protocol...)
		b = append(b, "\r\n"...)
	}
	b = append(b, s.headers...)
	return append(b, "\r\n"...)
}
