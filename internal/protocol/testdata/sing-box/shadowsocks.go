package main

import (
	"time"

	"github.com/sagernet/sing-shadowsocks/shadowaead"
	"github.com/sagernet/sing-shadowsocks/shadowaead_2022"
	M "github.com/sagernet/sing/common/metadata"
)

// shadowsocksVectors are the first flights of streams, and datagrams. The time of 2022 is 1795378080,
// its keys are reference/panels.md §8's.
func shadowsocksVectors(s *sink) {
	for _, method := range []string{"aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "chacha20-ietf-poly1305"} {
		m, err := shadowaead.New(method, nil, "password")
		if err != nil {
			panic(err)
		}
		c := m.DialEarlyConn(s, M.ParseSocksaddr("example.com:443"))
		c.Write([]byte("hello"))
		c.Write([]byte("more"))
		s.dump("shadowsocks", "sing-stream-"+method)
		m.DialPacketConn(s).WriteTo([]byte("query"), M.ParseSocksaddr("1.2.3.4:53").UDPAddr())
		s.dump("shadowsocks", "sing-packet-"+method)
	}
	now := func() time.Time { return time.Unix(1795378080, 0) }
	const short, long = "MjQ5MjBkZWNmODNmNjk2MA==", "MjQ5MjBkZWNmODNmNjk2MGI4MGY3MzdhMjhlZWFmYzE="
	for method, key := range map[string]string{
		"2022-blake3-aes-128-gcm":       short + ":YjgzMTM4MWQtNjMyNC00ZA==",
		"2022-blake3-aes-256-gcm":       long + ":YjgzMTM4MWQtNjMyNC00ZDUzLWFkNGYtOGNkYTQ4YjM=",
		"2022-blake3-chacha20-poly1305": long,
	} {
		m, err := shadowaead_2022.NewWithPassword(method, key, now)
		if err != nil {
			panic(err)
		}
		c := m.DialEarlyConn(s, M.ParseSocksaddr("example.com:443"))
		c.Write([]byte("hello"))
		c.Write([]byte("more"))
		s.dump("ss2022", "sing-stream-"+method)
		m.DialPacketConn(s).WriteTo([]byte("query"), M.ParseSocksaddr("1.2.3.4:53").UDPAddr())
		s.dump("ss2022", "sing-packet-"+method)
	}
}
