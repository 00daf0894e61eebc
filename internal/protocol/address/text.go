package address

import (
	"bytes"
	"fmt"
	"strconv"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/wire"
)

// MaxText is the longest host:port in bytes.
const MaxText = MaxHost + 2 + 1 + 5 // brackets, colon, port

var errPort = fmt.Errorf("%w: no port after the host", wire.ErrBadRequest)

// ParseText decodes a whole H-ADDR: host:port, an IPv6 address in brackets. What comes out is as from
// ParseV. Every error is final.
func ParseText(b []byte, hint string) (M.Socksaddr, error) {
	i := bytes.LastIndexByte(b, ':')
	if i < 1 || i > MaxHost+2 || len(b) > MaxText {
		return M.Socksaddr{}, errPort
	}
	port, err := strconv.ParseUint(string(b[i+1:]), 10, 16)
	if err != nil {
		return M.Socksaddr{}, errPort
	}
	name := b[:i]
	if hint != "" && string(name) == hint {
		return M.Socksaddr{Fqdn: hint, Port: uint16(port)}, nil
	}
	if ip, ok := parseLiteral(name); ok {
		return M.Socksaddr{Addr: ip, Port: uint16(port)}, nil
	}
	if len(name) > MaxHost {
		return M.Socksaddr{}, errHost
	}
	for _, c := range name {
		if !hostByte[c] {
			return M.Socksaddr{}, errHost
		}
	}
	return M.Socksaddr{Fqdn: string(name), Port: uint16(port)}, nil
}

// AppendText appends addr as H-ADDR to b; see AppendV.
func AppendText(b []byte, addr M.Socksaddr) []byte {
	switch kindOf(addr) {
	case host:
		b = append(b, addr.Fqdn...)
	case ipv6:
		b = append(b, '[')
		b = addr.Addr.WithZone("").AppendTo(b)
		b = append(b, ']')
	default:
		ip := addr.Addr.Unmap()
		if ip.IsValid() {
			b = ip.AppendTo(b)
		} else {
			b = append(b, "0.0.0.0"...)
		}
	}
	return strconv.AppendUint(append(b, ':'), uint64(addr.Port), 10)
}
