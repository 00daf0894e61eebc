package panel

import (
	"cmp"
	"slices"

	"heki/constant"
	"heki/option"
)

// build makes the inbound that serves n: the panel rules protocol, port, transport and TLS kind, the
// operator's local settings fill the rest. Nothing in the result is shared with local.
// The limits stay out, as the node's books apply them, but for what an inbound itself applies.
func build(tag string, n *Node, local option.PanelNode) option.Inbound {
	in := option.Inbound{Type: n.Protocol, Tag: tag}
	s := stream(n, local.Stream)
	switch n.Protocol {
	case constant.TypeShadowsocks:
		s.UDPProxyProtocol = local.UDPProxyProtocol
		if local.Limits != nil {
			s.Limits = &option.Limits{InvalidAccess: local.Limits.InvalidAccess}
		}
		in.Options = &option.Shadowsocks{Stream: s, Method: n.Cipher, Password: n.ServerKey, Obfs: obfs(n.Obfs)}
	case constant.TypeShadowsocksR:
		s.UDPProxyProtocol = local.UDPProxyProtocol
		s.Multiplex = nil // defaults may have it for other nodes' sake
		o := &option.ShadowsocksR{Stream: s, SSRSharing: local.SSRSharing, Ports: slices.Clone(n.Ports)}
		o.Mode = option.SSRMultiPort
		in.Options = o
	case constant.TypeTrojan:
		in.Options = &option.Trojan{Stream: s}
	case constant.TypeHysteria2:
		h := &option.Hysteria2{Stream: s, Hysteria2Local: local.Hysteria2Local.Clone(), UpMbps: n.UpMbps, DownMbps: n.DownMbps, IgnoreClientBandwidth: n.IgnoreClientBandwidth}
		if n.Obfs != nil {
			h.Obfs = &option.Hysteria2Obfs{Type: n.Obfs.Type, Password: n.Obfs.Password}
		}
		in.Options = h
	case constant.TypeAnyTLS:
		in.Options = &option.AnyTLS{Stream: s, PaddingScheme: slices.Clone(n.PaddingScheme)}
	case constant.TypeVMess:
		in.Options = &option.VMess{Stream: s, Legacy: n.AlterID > 0}
	default:
		in.Options = &option.VLESS{Stream: s}
	}
	return in
}

// stream is what every protocol over TCP has.
func stream(n *Node, local option.Stream) option.Stream {
	s := option.MergeStream(local, option.Stream{})
	s.ListenPort = n.Port
	if n.Listen != "" && len(s.Listen.Listen) == 0 {
		s.Listen.Listen = option.Listable[string]{n.Listen}
	}
	s.Limits = nil
	if n.ProxyProtocol && s.ProxyProtocol == "" && n.Protocol != constant.TypeHysteria2 {
		s.ProxyProtocol = option.ProxyRequired
	}
	s.UDPProxyProtocol = "" // defaults may have it for other nodes' sake
	s.Transport = carrier(&n.Carrier)
	s.TLS = tlsOf(n, s.TLS)
	if n.Multiplex && s.Multiplex == nil {
		s.Multiplex = &option.Multiplex{Enabled: true} // padding is the client's choice
	}
	return s
}

// obfs takes any host and path, as the panel says only what clients send.
func obfs(o *Obfs) *option.Obfs {
	if o == nil {
		return nil
	}
	return &option.Obfs{Type: o.Type, Path: o.Path, Host: option.Listable[string]{o.Host}}
}

func carrier(c *Carrier) *option.Transport {
	t := &option.Transport{Type: c.Network}
	switch c.Network {
	case constant.TransportTCP:
		return nil
	case constant.TransportGRPC:
		t.ServiceName = c.ServiceName
	default:
		t.Path, t.Paths = c.Path, slices.Clone(c.Paths)
	}
	return t
}

// tlsOf is nil without TLS; local has the certificate, and its server name wins. What local, which may
// be there for other nodes' sake, has of the kind that n is not is dropped.
func tlsOf(n *Node, local *option.TLS) *option.TLS {
	if n.TLS == TLSOff {
		return nil
	}
	t := cmp.Or(local, new(option.TLS))
	t.Enabled = true
	t.ServerName = cmp.Or(t.ServerName, n.ServerName)
	if n.TLS != TLSReality {
		t.Reality = nil
		n.Cert.apply(t)
		return t
	}
	t.Certificate, t.CertificatePath, t.Key, t.KeyPath = nil, "", nil, ""
	t.ACME, t.SelfSigned = nil, false
	panel := option.TLS{Reality: realityOf(n.Reality)}
	return option.MergeStream(option.Stream{TLS: t}, option.Stream{TLS: &panel}).TLS
}

func realityOf(r *Reality) *option.Reality {
	return &option.Reality{
		Enabled:     true,
		Handshake:   option.RealityTarget{Server: r.Server, ServerPort: r.ServerPort, Xver: r.ProxyHeader},
		PrivateKey:  r.PrivateKey,
		ShortID:     slices.Clone(r.ShortIDs),
		ServerNames: slices.Clone(r.ServerNames),
	}
}
