// Package proxyproto reads the header that a load balancer puts in front of a connection to say whom
// it accepted it from: PROXY protocol, versions 1 and 2.
//
// Source: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// MaxHeader is the length in bytes of the longest header that Parse takes.
const MaxHeader = fixed + maxBody

const (
	maxLine  = 107                // a version 1 header with its CRLF: §2.1
	fixed    = len(signature) + 4 // of a version 2 header: signature, version and command, family, length
	maxBody  = 536                // addresses and TLVs: §2.2 promises no more in the first segment
	prefix   = "PROXY "           // of version 1
	addrs4   = 2*4 + 2*2          // source, destination, source port, destination port
	addrs6   = 2*16 + 2*2
	addrUnix = 2 * 108

	// signature starts version 2.
	signature = "\r\n\r\n\x00\r\nQUIT\n"
)

// Bytes of version 2.
const (
	version2     = 0x20
	commandLocal = 0x0
	commandProxy = 0x1

	familyNone = 0x00
	familyTCP4 = 0x11
	familyUDP4 = 0x12
	familyTCP6 = 0x21
	familyUDP6 = 0x22
	familyUnix = 0x31
	familyUnxD = 0x32
)

// Errors of Parse. ErrShort says that the bytes so far are the start of a header: read more. The
// others are final.
var (
	ErrShort = errors.New("incomplete")
	// ErrMissing says that the bytes are not a header but something else.
	ErrMissing = errors.New("no PROXY header")
	// ErrBadHeader is wrapped by the errors of a header that is malformed.
	ErrBadHeader = errors.New("bad PROXY header")
)

// Header is what a load balancer says about a connection. Both addresses are the zero value when it
// speaks for itself (LOCAL, a health check) or knows none (UNKNOWN, UNSPEC, unix): then those of the
// socket hold. IPv4 in IPv6 comes out as IPv4.
type Header struct {
	Source      netip.AddrPort // who connected to the load balancer
	Destination netip.AddrPort // where to
}

// Parse decodes the header at the start of b, of either version, and returns its length in bytes, at
// most MaxHeader; what follows in b is the stream. It keeps no reference to b. ErrMissing comes with
// the first byte that no header has there.
//
//	PROXY TCP4|TCP6 source destination sport dport CRLF
//	PROXY UNKNOWN ... CRLF
//
//	| signature 12 | version 2, command 4+4 bits | family 1 | length u16be |
//	| source 4 or 16 | destination 4 or 16 | sport u16be | dport u16be | TLVs, skipped |
func Parse(b []byte) (h Header, n int, err error) {
	for _, start := range [...]string{prefix, signature} {
		k := min(len(b), len(start))
		if string(b[:k]) != start[:k] {
			continue
		}
		switch {
		case k < len(start):
			return Header{}, 0, ErrShort
		case start == prefix:
			return parseLine(b)
		}
		return parseBinary(b)
	}
	return Header{}, 0, ErrMissing
}

// parseLine decodes version 1.
func parseLine(b []byte) (Header, int, error) {
	end := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	switch {
	case end < 0 && len(b) >= maxLine:
		return Header{}, 0, bad("no line end in %d bytes", maxLine)
	case end < 0:
		return Header{}, 0, ErrShort
	case b[end-1] != '\r':
		return Header{}, 0, bad("line ends without CR")
	}
	line := string(b[len(prefix) : end-1])
	family, rest, _ := strings.Cut(line, " ")
	if family == "UNKNOWN" {
		return Header{}, end + 1, nil
	}
	if family != "TCP4" && family != "TCP6" {
		return Header{}, 0, bad("family %q", family)
	}
	f := strings.Split(rest, " ")
	if len(f) != 4 {
		return Header{}, 0, bad("%d fields instead of 4", len(f))
	}
	source, err1 := parseAddr(f[0], f[2], family)
	destination, err2 := parseAddr(f[1], f[3], family)
	if err := errors.Join(err1, err2); err != nil {
		return Header{}, 0, err
	}
	return Header{source, destination}, end + 1, nil
}

// parseAddr decodes an address of version 1, which must be of its family.
func parseAddr(host, port, family string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" || addr.Is4() != (family == "TCP4") {
		return netip.AddrPort{}, bad("%s address %q", family, host)
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, bad("port %q", port)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(p)), nil
}

// parseBinary decodes version 2.
func parseBinary(b []byte) (Header, int, error) {
	const verCmd, family, length = len(signature), len(signature) + 1, len(signature) + 2
	if len(b) > verCmd {
		if c := b[verCmd]; c != version2|commandLocal && c != version2|commandProxy {
			return Header{}, 0, bad("version and command %#x", c)
		}
	}
	if len(b) < fixed {
		return Header{}, 0, ErrShort
	}
	size := int(binary.BigEndian.Uint16(b[length:]))
	if size > maxBody {
		return Header{}, 0, bad("%d bytes, at most %d are read", size, maxBody)
	}
	n := fixed + size
	need := 0
	if b[verCmd] == version2|commandProxy { // the family of LOCAL means nothing
		switch b[family] {
		case familyNone:
		case familyTCP4, familyUDP4:
			need = addrs4
		case familyTCP6, familyUDP6:
			need = addrs6
		case familyUnix, familyUnxD:
			need = addrUnix
		default:
			return Header{}, 0, bad("family %#x", b[family])
		}
	}
	if size < need {
		return Header{}, 0, bad("%d bytes are too few for family %#x", size, b[family])
	}
	if len(b) < n {
		return Header{}, 0, ErrShort
	}
	return addresses(b[fixed:], need), n, nil
}

// addresses decodes those of version 2, which take need bytes.
func addresses(b []byte, need int) Header {
	if need != addrs4 && need != addrs6 {
		return Header{}
	}
	half := (need - 4) / 2
	one := func(i int) netip.AddrPort {
		ip, _ := netip.AddrFromSlice(b[i*half : (i+1)*half]) // 4 or 16 bytes
		return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(b[2*half+2*i:]))
	}
	return Header{Source: one(0), Destination: one(1)}
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadHeader, fmt.Sprintf(format, args...))
}

// AppendV1 appends h as version 1 to b: UNKNOWN when it has not both addresses. Addresses of two
// families are both written as IPv6.
func AppendV1(b []byte, h Header) []byte {
	b = append(b, prefix...)
	if !h.known() {
		return append(b, "UNKNOWN\r\n"...)
	}
	source, destination := h.Source.Addr().Unmap(), h.Destination.Addr().Unmap()
	family := "TCP4 "
	if !source.Is4() || !destination.Is4() {
		family = "TCP6 "
		source, destination = netip.AddrFrom16(source.As16()), netip.AddrFrom16(destination.As16())
	}
	b = append(b, family...)
	b = append(source.AppendTo(b), ' ')
	b = append(destination.AppendTo(b), ' ')
	b = append(strconv.AppendUint(b, uint64(h.Source.Port()), 10), ' ')
	b = strconv.AppendUint(b, uint64(h.Destination.Port()), 10)
	return append(b, "\r\n"...)
}

// AppendV2 appends h as version 2 to b: LOCAL when it has not both addresses. tlvs, at most 500
// bytes, follow the addresses.
func AppendV2(b []byte, h Header, tlvs ...byte) []byte {
	b = append(b, signature...)
	if !h.known() {
		b = append(b, version2|commandLocal, familyNone)
		b = binary.BigEndian.AppendUint16(b, uint16(len(tlvs)))
		return append(b, tlvs...)
	}
	source, destination := h.Source.Addr().Unmap(), h.Destination.Addr().Unmap()
	var ips []byte
	family := byte(familyTCP4)
	if source.Is4() && destination.Is4() {
		s, d := source.As4(), destination.As4()
		ips = append(s[:], d[:]...)
	} else {
		family = familyTCP6
		s, d := source.As16(), destination.As16()
		ips = append(s[:], d[:]...)
	}
	b = append(b, version2|commandProxy, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(ips)+4+len(tlvs)))
	b = append(b, ips...)
	b = binary.BigEndian.AppendUint16(b, h.Source.Port())
	b = binary.BigEndian.AppendUint16(b, h.Destination.Port())
	return append(b, tlvs...)
}

// known reports whether both addresses can be said.
func (h Header) known() bool { return h.Source.Addr().IsValid() && h.Destination.Addr().IsValid() }
