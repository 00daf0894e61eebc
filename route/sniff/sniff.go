// Package sniff tells from the first bytes of a client what it speaks and which host it wants. It only
// reads what it is given: no clock, no I/O, bounded memory, for anything a client may send.
//
// Source: reference/protocols.md §11.
package sniff

import (
	"errors"
	"net/netip"
	"strings"

	"heki/constant"
)

var (
	// ErrMore means that the bytes are a good beginning and more are needed.
	ErrMore = errors.New("more bytes needed")
	// ErrUnknown means that no further byte can make this a known protocol.
	ErrUnknown = errors.New("unknown protocol")
)

// Result is what the first bytes say.
type Result struct {
	Protocol string // constant.Protocol…
	Domain   string // in lower case, without a trailing dot; empty when there is none that is valid
}

const (
	// MaxStream is the number of bytes after which Stream no longer asks for more.
	MaxStream = 20 << 10
	// MaxDatagrams is the number of datagrams after which Packets no longer asks for more. A hello
	// with post-quantum keys needs two; clients repeat themselves after that.
	MaxDatagrams = 4

	maxHello = 16 << 10 // of a ClientHello, as in crypto/tls and sing-box
)

// Stream looks at the first bytes of a TCP stream. It keeps no reference to b.
//
// With ErrMore a Protocol that is set is already certain and only the domain is missing: a caller
// whose time or buffer is over can use it. ErrUnknown is final.
func Stream(b []byte) (Result, error) {
	more := len(b) == 0
	for _, parse := range [...]func([]byte) (Result, error){tlsStream, httpStream, bitTorrentStream} {
		r, err := parse(b)
		switch {
		case err == nil:
			return r, nil
		case !errors.Is(err, ErrMore):
		case r.Protocol != "" && len(b) >= MaxStream:
			return r, nil
		case r.Protocol != "":
			return r, ErrMore
		default:
			more = true
		}
	}
	if more && len(b) < MaxStream {
		return Result{}, ErrMore
	}
	return Result{}, ErrUnknown
}

// prefix compares the start of b: ErrMore while b is shorter than want and agrees with it.
func prefix(b []byte, want string) error {
	n := min(len(b), len(want))
	switch {
	case string(b[:n]) != want[:n]:
		return ErrUnknown
	case n < len(want):
		return ErrMore
	}
	return nil
}

// hostname returns s as a domain, or "" when it is none: an address, or bytes that no name has.
func hostname(s string) string {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 || s[0] == '.' { // RFC 1035 §2.3.4
		return ""
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.' && s[i-1] != '.':
		default:
			return ""
		}
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return ""
	}
	return strings.ToLower(s)
}

// bitTorrentStream knows the plain peer handshake (BEP 3). Encrypted ones look like noise.
func bitTorrentStream(b []byte) (Result, error) {
	if err := prefix(b, "\x13BitTorrent protocol"); err != nil {
		return Result{}, err
	}
	return Result{Protocol: constant.ProtocolBitTorrent}, nil
}
