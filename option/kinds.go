package option

import (
	"fmt"
	"slices"
	"strings"

	"heki/constant"
)

// newInbound returns the options of an inbound type that this version serves, or nil.
func newInbound(typ string) InboundOptions {
	switch typ {
	case constant.TypeVLESS:
		return new(VLESS)
	case constant.TypeTrojan:
		return new(Trojan)
	case constant.TypeVMess:
		return new(VMess)
	case constant.TypeAnyTLS:
		return new(AnyTLS)
	case constant.TypeHysteria2:
		return new(Hysteria2)
	case constant.TypeShadowsocks:
		return new(Shadowsocks)
	case constant.TypeShadowsocksR:
		return new(ShadowsocksR)
	}
	return nil
}

// newOutbound returns the options of an outbound type that this version serves, or nil.
func newOutbound(typ string) OutboundOptions {
	switch typ {
	case constant.TypeDirect:
		return new(Direct)
	case constant.TypeBlock:
		return new(Block)
	case constant.TypeGroup:
		return new(Group)
	case constant.TypeHTTP:
		return new(HTTPOutbound)
	case constant.TypeRedirect:
		return new(RedirectOutbound)
	case constant.TypeShadowsocks:
		return new(ShadowsocksOutbound)
	case constant.TypeSocks:
		return new(SocksOutbound)
	case constant.TypeTrojan:
		return new(TrojanOutbound)
	case constant.TypeVLESS:
		return new(VLESSOutbound)
	case constant.TypeVMess:
		return new(VMessOutbound)
	}
	return nil
}

// kind is a family of names in "type", for messages.
type kind struct {
	served  []string // by this version
	planned []string // known to heki, not served yet
	never   []string // known to sing-box, nothing for a node
	hint    string   // follows a name that is not served
}

var (
	inboundKind = kind{
		served: []string{
			constant.TypeAnyTLS, constant.TypeHysteria2, constant.TypeShadowsocks, constant.TypeShadowsocksR,
			constant.TypeTrojan, constant.TypeVLESS, constant.TypeVMess,
		},
		never: []string{
			"bridge", "cloudflared", "direct", "http", "hysteria", "mixed", "naive", "redirect",
			"shadowtls", "snell", "socks", "tor", "tproxy", "tuic", "tun",
		},
	}
	outboundKind = kind{
		served: []string{
			constant.TypeBlock, constant.TypeDirect, constant.TypeGroup, constant.TypeHTTP, constant.TypeRedirect,
			constant.TypeShadowsocks, constant.TypeSocks, constant.TypeTrojan, constant.TypeVLESS, constant.TypeVMess,
		},
		planned: []string{"shadowsocksr"},
		never: []string{
			"anytls", "bridge", "dns", "hysteria", "hysteria2", "naive", "selector", "shadowtls", "snell", "ssh",
			"tor", "tuic", "urltest", "wireguard",
		},
	}
	transportKind = kind{
		served: []string{
			constant.TransportGRPC, constant.TransportHTTP, constant.TransportHTTPUpgrade, constant.TransportTCPHTTPHeader, constant.TransportWS,
		},
		never: []string{"quic", "xhttp", "kcp", "mkcp"},
		hint:  "; leave transport out for plain TCP",
	}
	panelKind = kind{
		served: []string{
			constant.PanelXBoard, constant.PanelV2board, constant.PanelXiaoV2board, constant.PanelSSPanel, constant.PanelPPanel,
			constant.PanelLocal,
		},
	}
)

// check is nil for a served name and else says what would be right. Empty names are the caller's.
func (k *kind) check(typ string) error {
	served := "; served: " + strings.Join(k.served, ", ") + k.hint
	switch {
	case slices.Contains(k.served, typ):
		return nil
	case slices.Contains(k.planned, typ):
		return fmt.Errorf("%q is not served by this version%s", typ, served)
	case slices.Contains(k.never, typ):
		return fmt.Errorf("%q is not served by heki%s", typ, served)
	}
	if near := nearest(typ, slices.Concat(k.served, k.planned)); near != "" {
		return fmt.Errorf("%q is unknown, did you mean %q?%s", short(typ), near, served)
	}
	return fmt.Errorf("%q is unknown%s", short(typ), served)
}

// short cuts a text for a message.
func short(s string) string {
	if r := []rune(s); len(r) > maxNameShown {
		return string(r[:maxNameShown]) + "…"
	}
	return s
}
