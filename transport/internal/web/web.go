// Package web has what the transports over HTTP share, whatever its version: which host and path are
// asked for, who asks, and the headers of the answer.
package web

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"heki/option"
)

// Hosts are the names that a server answers to, in lower case and without ports. None are all.
type Hosts []string

// NewHosts prepares names as configured.
func NewHosts(names []string) Hosts {
	h := make(Hosts, 0, len(names))
	for _, name := range names {
		if name = strings.ToLower(hostOnly(name)); name != "" {
			h = append(h, name)
		}
	}
	return h
}

// Match says whether a Host header or :authority is one of them, with any port.
func (h Hosts) Match(host []byte) bool {
	if len(h) == 0 {
		return true
	}
	asked := hostOnly(string(host))
	return slices.ContainsFunc(h, func(name string) bool { return strings.EqualFold(name, asked) })
}

// hostOnly cuts the port of a host: a.example:443, [2001:db8::1]:443.
func hostOnly(host string) string {
	if h, ok := strings.CutPrefix(host, "["); ok {
		h, _, _ = strings.Cut(h, "]")
		return h
	}
	if strings.Count(host, ":") == 1 {
		host, _, _ = strings.Cut(host, ":")
	}
	return host
}

// Path is a path as configured, without a query and with a leading slash.
type Path string

// NewPath prepares a path.
func NewPath(text string) Path {
	text, _, _ = strings.Cut(text, "?")
	if !strings.HasPrefix(text, "/") {
		text = "/" + text
	}
	return Path(text)
}

// Equal compares a path as it came, which may be percent-encoded.
func (p Path) Equal(path []byte) bool {
	rest, ok := p.Rest(path)
	return ok && len(rest) == 0
}

// Rest returns what follows p at the start of a path as it came, which may be percent-encoded.
func (p Path) Rest(path []byte) (rest []byte, ok bool) {
	if rest, ok = bytes.CutPrefix(path, []byte(p)); ok {
		return rest, true
	}
	if bytes.IndexByte(path, '%') < 0 {
		return nil, false
	}
	plain, err := url.PathUnescape(string(path))
	if err != nil {
		return nil, false
	}
	return bytes.CutPrefix([]byte(plain), []byte(p))
}

// Encoded is the path as it goes into a request. What is percent-encoded stays so.
func (p Path) Encoded() string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(p) {
		if c > ' ' && c < 0x7f && c != '?' && c != '#' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// Field is one header.
type Field struct{ Name, Value string }

// Fields returns the headers of a configuration in order, and apart from them the value of Server.
// Those that say how the connection works are ours and are left out, and so is Host, which is what
// the clients of the same panel node send.
func Fields(headers map[string]option.Listable[string]) (server string, fields []Field, err error) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if !isToken(name) {
			return "", nil, fmt.Errorf("headers: %q is no header name", name)
		}
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		for _, value := range headers[name] {
			if strings.ContainsAny(value, "\r\n\x00") {
				return "", nil, fmt.Errorf("headers: the value of %s has a line end", name)
			}
			switch canonical {
			case "Host", "Connection", "Keep-Alive", "Proxy-Connection", "Upgrade", "Date", "Content-Length", "Transfer-Encoding",
				"Sec-Websocket-Accept", "Sec-Websocket-Extensions", "Sec-Websocket-Protocol":
			case "Server":
				server = value
			default:
				fields = append(fields, Field{name, value})
			}
		}
	}
	return server, fields, nil
}

// Lines writes headers for HTTP/1.
func Lines(fields []Field) string {
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(f.Name)
		b.WriteString(": ")
		b.WriteString(f.Value)
		b.WriteString("\r\n")
	}
	return b.String()
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// Source is the client that the headers X-Forwarded-For (the first address) or X-Real-IP name when
// peer is in trusted, else the zero value. Its port is 0.
func Source(trusted []netip.Prefix, peer net.Addr, forwarded, realIP []byte) netip.AddrPort {
	var none netip.AddrPort
	if len(trusted) == 0 || peer == nil || len(forwarded) == 0 && len(realIP) == 0 {
		return none
	}
	from, err := netip.ParseAddrPort(peer.String())
	if err != nil {
		return none
	}
	addr := from.Addr().Unmap().WithZone("")
	if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return none
	}
	for part := range bytes.SplitSeq(forwarded, []byte{','}) {
		if ip, ok := parseIP(part); ok {
			return netip.AddrPortFrom(ip, 0)
		}
	}
	if ip, ok := parseIP(realIP); ok {
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
