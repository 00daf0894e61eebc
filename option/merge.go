package option

import (
	"cmp"
	"maps"
	"slices"
)

// MergeStream gives the settings of a panel's node: what node has written wins over defaults, part by
// part inside tls and limits. A certificate and its key, a server, a transport and a list stay
// together. A switch is on when either has it on. The result shares nothing with its sources.
func MergeStream(node, defaults Stream) Stream {
	n, d := &node, &defaults
	return Stream{
		Listen:          mergeListen(&n.Listen, &d.Listen),
		TLS:             mergeTLS(n.TLS, d.TLS),
		Transport:       cloneTransport(cmp.Or(n.Transport, d.Transport)),
		Multiplex:       clonePointer(cmp.Or(n.Multiplex, d.Multiplex)),
		Fallback:        clonePointer(cmp.Or(n.Fallback, d.Fallback)),
		FallbackForALPN: mergeMap(n.FallbackForALPN, d.FallbackForALPN),
		FallbackForPath: mergeMap(n.FallbackForPath, d.FallbackForPath),
		Limits:          mergeLimitsPointer(d.Limits, n.Limits),
	}
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

// firstList is the first list that was written, copied.
func firstList[L ~[]E, E any](inner, outer L) L {
	if len(inner) > 0 {
		return slices.Clone(inner)
	}
	return slices.Clone(outer)
}

func mergeMap[V any](inner, outer map[string]V) map[string]V {
	if outer == nil {
		return maps.Clone(inner)
	}
	out := maps.Clone(outer)
	maps.Copy(out, inner)
	return out
}

func mergeListen(n, d *Listen) Listen {
	return Listen{
		Listen:           firstList(n.Listen, d.Listen),
		ListenPort:       cmp.Or(n.ListenPort, d.ListenPort),
		BindInterface:    cmp.Or(n.BindInterface, d.BindInterface),
		ReuseAddr:        n.ReuseAddr || d.ReuseAddr,
		TCPFastOpen:      n.TCPFastOpen || d.TCPFastOpen,
		TCPMultiPath:     n.TCPMultiPath || d.TCPMultiPath,
		MPTCP:            n.MPTCP || d.MPTCP,
		TCPTimeout:       cmp.Or(n.TCPTimeout, d.TCPTimeout),
		UDPTimeout:       cmp.Or(n.UDPTimeout, d.UDPTimeout),
		HandshakeTimeout: cmp.Or(n.HandshakeTimeout, d.HandshakeTimeout),
		ProxyProtocol:    cmp.Or(n.ProxyProtocol, d.ProxyProtocol),
		UDPProxyProtocol: cmp.Or(n.UDPProxyProtocol, d.UDPProxyProtocol),
		TrustedProxies:   firstList(n.TrustedProxies, d.TrustedProxies),
	}
}

func mergeTLS(n, d *TLS) *TLS {
	if n == nil && d == nil {
		return nil
	}
	n, d = cmp.Or(n, new(TLS)), cmp.Or(d, new(TLS))
	pair := n
	if n.hasNoCertificate() {
		pair = d
	}
	return &TLS{
		Enabled:          n.Enabled || d.Enabled,
		ServerName:       cmp.Or(n.ServerName, d.ServerName),
		ALPN:             firstList(n.ALPN, d.ALPN),
		MinVersion:       cmp.Or(n.MinVersion, d.MinVersion),
		MaxVersion:       cmp.Or(n.MaxVersion, d.MaxVersion),
		CipherSuites:     firstList(n.CipherSuites, d.CipherSuites),
		CurvePreferences: firstList(n.CurvePreferences, d.CurvePreferences),
		Certificate:      slices.Clone(pair.Certificate),
		CertificatePath:  pair.CertificatePath,
		Key:              slices.Clone(pair.Key),
		KeyPath:          pair.KeyPath,
		RejectUnknownSNI: n.RejectUnknownSNI || d.RejectUnknownSNI,
		HandshakeTimeout: cmp.Or(n.HandshakeTimeout, d.HandshakeTimeout),
		Reality:          mergeReality(n.Reality, d.Reality),
		ACME:             pair.ACME.Clone(),
		SelfSigned:       pair.SelfSigned,
	}
}

func mergeReality(n, d *Reality) *Reality {
	if n == nil && d == nil {
		return nil
	}
	n, d = cmp.Or(n, new(Reality)), cmp.Or(d, new(Reality))
	target := n.Handshake
	if target.Server == "" {
		target = d.Handshake
	}
	return &Reality{
		Enabled:           n.Enabled || d.Enabled,
		Handshake:         target,
		PrivateKey:        cmp.Or(n.PrivateKey, d.PrivateKey),
		ShortID:           firstList(n.ShortID, d.ShortID),
		ServerNames:       firstList(n.ServerNames, d.ServerNames),
		MaxTimeDifference: cmp.Or(n.MaxTimeDifference, d.MaxTimeDifference),
		MinClientVersion:  cmp.Or(n.MinClientVersion, d.MinClientVersion),
		MaxClientVersion:  cmp.Or(n.MaxClientVersion, d.MaxClientVersion),
	}
}

func cloneTransport(t *Transport) *Transport {
	c := clonePointer(t)
	if c == nil {
		return nil
	}
	c.Host, c.Paths = slices.Clone(t.Host), slices.Clone(t.Paths)
	if c.Headers == nil {
		return c
	}
	c.Headers = make(map[string]Listable[string], len(t.Headers))
	for name, values := range t.Headers {
		c.Headers[name] = slices.Clone(values)
	}
	return c
}

func mergeLimitsPointer(outer, inner *Limits) *Limits {
	if outer == nil && inner == nil {
		return nil
	}
	merged := MergeLimits(outer, inner)
	return &merged
}

// MergeLimits lets what inner has written win over outer; either may be nil. It fills no defaults:
// they are there when outer is the validated limits at the top of the configuration. Against a
// panel's value the lower non-zero one wins, which is not done here.
func MergeLimits(outer, inner *Limits) Limits {
	o, i := cmp.Or(outer, new(Limits)), cmp.Or(inner, new(Limits))
	return Limits{
		UserSpeedMbps: cmp.Or(i.UserSpeedMbps, o.UserSpeedMbps),
		NodeSpeedMbps: cmp.Or(i.NodeSpeedMbps, o.NodeSpeedMbps),
		UserIPs:       cmp.Or(i.UserIPs, o.UserIPs),
		UserConns:     cmp.Or(i.UserConns, o.UserConns),
		IPExpiry:      cmp.Or(i.IPExpiry, o.IPExpiry),
		CIDRv4:        cmp.Or(i.CIDRv4, o.CIDRv4),
		CIDRv6:        cmp.Or(i.CIDRv6, o.CIDRv6),
		Report: Report{
			MinTrafficKB: cmp.Or(i.Report.MinTrafficKB, o.Report.MinTrafficKB),
			MinOnlineKB:  cmp.Or(i.Report.MinOnlineKB, o.Report.MinOnlineKB),
		},
		InvalidAccess: cmp.Or(i.InvalidAccess, o.InvalidAccess),
	}
}
