package h2

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"heki/transport/internal/http1"
	"heki/transport/internal/web"
)

// ErrNoStream says that a server answers, but not with a stream.
var ErrNoStream = errors.New("the server opens no stream")

// AppendRequest encodes what a request begins with.
func AppendRequest(b []byte, method, scheme, authority, path string) []byte {
	switch method { // RFC 7541 appendix A
	case "GET":
		b = append(b, 0x82)
	case "POST":
		b = append(b, 0x83)
	default:
		b = appendString(append(b, 0x42), method)
	}
	if scheme == "https" {
		b = append(b, 0x87)
	} else {
		b = append(b, 0x86)
	}
	return AppendField(AppendField(b, ":authority", authority), ":path", path)
}

// AppendServerDate encodes the two headers that begin every answer.
func AppendServerDate(b []byte, server string, now time.Time) []byte {
	if server == "" {
		server = http1.ServerName
	}
	return AppendField(AppendField(b, "server", server), "date", now.UTC().Format(http.TimeFormat))
}

// AppendFields encodes headers of a configuration.
func AppendFields(b []byte, fields []web.Field) []byte {
	for _, f := range fields {
		b = AppendField(b, strings.ToLower(f.Name), f.Value)
	}
	return b
}

// Source is the client that m names when peer is in trusted; see web.Source.
func Source(trusted []netip.Prefix, peer net.Addr, m *Message) netip.AddrPort {
	return web.Source(trusted, peer, []byte(m.Get("x-forwarded-for")), []byte(m.Get("x-real-ip")))
}
