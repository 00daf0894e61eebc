package address

import (
	"encoding/binary"

	M "github.com/sagernet/sing/common/metadata"
)

// unspecified stands for what the wire cannot say.
var unspecified [4]byte

// AppendV appends addr as V-ADDR to b. IPv4 in IPv6 is written as IPv4, a zone is left out. An
// address that has neither an IP nor a host of 1 to MaxHost bytes is written as 0.0.0.0.
func AppendV(b []byte, addr M.Socksaddr) []byte {
	b = binary.BigEndian.AppendUint16(b, addr.Port)
	return appendHost(b, addr, &vTypes)
}

// AppendS appends addr as S-ADDR to b; see AppendV.
func AppendS(b []byte, addr M.Socksaddr) []byte {
	b = appendHost(b, addr, &sTypes)
	return binary.BigEndian.AppendUint16(b, addr.Port)
}

// AppendP appends addr as P-ADDR to b; see AppendV. A host name is written as 0.0.0.0.
func AppendP(b []byte, addr M.Socksaddr) []byte {
	addr.Fqdn = ""
	b = appendHost(b, addr, &pTypes)
	return binary.BigEndian.AppendUint16(b, addr.Port)
}

// AppendU appends addr as U-ADDR to b; see AppendV.
func AppendU(b []byte, addr M.Socksaddr) []byte {
	b = appendHost(b, addr, &uTypes)
	return binary.BigEndian.AppendUint16(b, addr.Port)
}

// Size returns how many bytes AppendV, AppendS, AppendU and, without a host name, AppendP add for addr.
func Size(addr M.Socksaddr) int {
	switch kindOf(addr) {
	case host:
		return 1 + 1 + len(addr.Fqdn) + 2
	case ipv6:
		return 1 + 16 + 2
	}
	return 1 + 4 + 2
}

func kindOf(addr M.Socksaddr) kind {
	switch {
	case addr.Addr.Is6() && !addr.Addr.Is4In6():
		return ipv6
	case !addr.Addr.IsValid() && addr.Fqdn != "" && len(addr.Fqdn) <= MaxHost:
		return host
	}
	return ipv4
}

func appendHost(b []byte, addr M.Socksaddr, types *[4]byte) []byte {
	k := kindOf(addr)
	b = append(b, types[k])
	switch k {
	case host:
		b = append(b, byte(len(addr.Fqdn)))
		return append(b, addr.Fqdn...)
	case ipv6:
		ip := addr.Addr.As16()
		return append(b, ip[:]...)
	}
	ip := unspecified
	if addr.Addr.IsValid() {
		ip = addr.Addr.As4()
	}
	return append(b, ip[:]...)
}
