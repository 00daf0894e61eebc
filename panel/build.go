package panel

import (
	"cmp"

	"heki/constant"
	"heki/option"
)

// build makes the inbound that serves n: the panel rules protocol, port, transport and TLS kind, the
// operator's local settings fill the rest. Nothing in the result is shared with local.
//
// The panel's ws host is not enforced: it is what clients behind a CDN send, and others send theirs.
// The limits stay out: the node's books apply them.
func build(tag string, n *Node, local option.Stream) option.Inbound {
	s := option.MergeStream(local, option.Stream{})
	s.ListenPort = n.Port
	s.Limits = nil
	s.Transport = nil
	if n.Network == constant.TransportWS {
		s.Transport = &option.Transport{Type: constant.TransportWS, Path: n.Path}
	}
	if n.TLS == TLSOff {
		s.TLS = nil
	} else {
		if s.TLS == nil {
			s.TLS = new(option.TLS)
		}
		s.TLS.Enabled = true
		s.TLS.ServerName = cmp.Or(s.TLS.ServerName, n.ServerName)
	}
	in := option.Inbound{Type: n.Protocol, Tag: tag}
	switch n.Protocol {
	case constant.TypeTrojan:
		in.Options = &option.Trojan{Stream: s}
	case constant.TypeVMess:
		in.Options = &option.VMess{Stream: s}
	default:
		in.Options = &option.VLESS{Stream: s}
	}
	return in
}
