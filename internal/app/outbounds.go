package app

import (
	"heki/outbound"
	"heki/outbound/block"
	"heki/outbound/direct"
	"heki/outbound/group"
	"heki/outbound/http"
	"heki/outbound/redirect"
	"heki/outbound/shadowsocks"
	"heki/outbound/socks"
	"heki/outbound/trojan"
	"heki/outbound/vless"
	"heki/outbound/vmess"
)

// outboundTypes is the list of the ways out.
func outboundTypes() *outbound.Registry {
	r := outbound.NewRegistry()
	block.Register(r)
	direct.Register(r)
	group.Register(r)
	http.Register(r)
	redirect.Register(r)
	shadowsocks.Register(r)
	socks.Register(r)
	trojan.Register(r)
	vless.Register(r)
	vmess.Register(r)
	return r
}
