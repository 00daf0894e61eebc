package ws

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"heki/option"
	"heki/transport/internal/http1"
)

const protocolHeader = "Sec-WebSocket-Protocol"

// setHeaders takes the headers of the configuration over. Those that the upgrade itself needs are
// ours, and Host is what clients of the same panel node send, not an answer.
func (s *Server) setHeaders(headers map[string]option.Listable[string]) error {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if !isToken(name) {
			return fmt.Errorf("headers: %q is no header name", name)
		}
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		for _, value := range headers[name] {
			if strings.ContainsAny(value, "\r\n\x00") {
				return fmt.Errorf("headers: the value of %s has a line end", name)
			}
			switch canonical {
			case "Host", "Connection", "Upgrade", "Date", "Content-Length", "Transfer-Encoding",
				"Sec-Websocket-Accept", "Sec-Websocket-Extensions", "Sec-Websocket-Protocol":
			case "Server":
				s.site.Name = value
			default:
				fmt.Fprintf(&b, "%s: %s\r\n", name, value)
			}
		}
	}
	s.headers = b.String()
	return nil
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

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
	if s.host != "" && !strings.EqualFold(hostOnly(string(r.Host)), s.host) {
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

// matchPath compares the path, as it is and percent-decoded, and returns what follows it when early
// data may stand there.
func (s *Server) matchPath(path []byte) (rest []byte, ok bool) {
	if string(path) == s.path {
		return nil, true
	}
	if bytes.IndexByte(path, '%') >= 0 {
		if plain, err := url.PathUnescape(string(path)); err == nil {
			path = []byte(plain)
		}
		if string(path) == s.path {
			return nil, true
		}
	}
	if !s.earlyInPath {
		return nil, false
	}
	return bytes.CutPrefix(path, []byte(s.path))
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
	sum := sha1.Sum(append(bytes.Clone(key), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	b = base64.StdEncoding.AppendEncode(b, sum[:])
	b = append(b, "\r\n"...)
	if protocol, n := r.Get(protocolHeader); n > 0 && early {
		b = append(b, protocolHeader+": "...)
		b = append(b, protocol...)
		b = append(b, "\r\n"...)
	}
	b = append(b, s.headers...)
	return append(b, "\r\n"...)
}

// source is the client that a trusted proxy names, else the zero value.
func (s *Server) source(peer net.Addr, r *http1.Request) netip.AddrPort {
	var none netip.AddrPort
	if len(s.trusted) == 0 || peer == nil {
		return none
	}
	from, err := netip.ParseAddrPort(peer.String())
	if err != nil {
		return none
	}
	addr := from.Addr().Unmap().WithZone("")
	if !slices.ContainsFunc(s.trusted, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return none
	}
	forwarded, _ := r.Get("X-Forwarded-For")
	for part := range bytes.SplitSeq(forwarded, []byte{','}) {
		if ip, ok := parseIP(part); ok {
			return netip.AddrPortFrom(ip, 0)
		}
	}
	real, _ := r.Get("X-Real-IP")
	if ip, ok := parseIP(real); ok {
		return netip.AddrPortFrom(ip, 0)
	}
	return none
}

func parseIP(b []byte) (netip.Addr, bool) {
	text := strings.Trim(string(b), " \t[]")
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, false
	}
	return ip.Unmap().WithZone(""), true
}
