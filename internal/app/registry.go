package app

import (
	"heki/inbound"
	"heki/inbound/anytls"
	"heki/inbound/hysteria2"
	"heki/inbound/shadowsocks"
	"heki/inbound/shadowsocksr"
	"heki/inbound/trojan"
	"heki/inbound/vless"
	"heki/inbound/vmess"
)

// inboundTypes is the list of the protocols that heki serves. Their inbounds remember together in m.
func inboundTypes(m *memories) *inbound.Registry {
	r := inbound.NewRegistry()
	anytls.Register(r)
	hysteria2.Register(r, new(hysteria2.Pool))
	shadowsocks.Register(r, m.shadowsocks)
	shadowsocksr.Register(r, m.shadowsocksR)
	trojan.Register(r)
	vless.Register(r)
	vmess.Register(r, m.vmess)
	return r
}
