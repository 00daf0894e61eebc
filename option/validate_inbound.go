package option

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"heki/constant"
)

// ListenAll in "listen" stands for each local address, one socket each.
const ListenAll = "all"

// defaultListen takes IPv4 and IPv6.
const defaultListen = "::"

// Never is a timeout that never ends, as written in tcp_timeout.
const Never = Duration(-time.Second)

// Validate checks type and options. Tags are given by Options.Validate, which knows the others.
func (i *Inbound) Validate(at Path) error {
	if i.Options == nil || newInbound(i.Type) == nil {
		return at.Key("type").Errorf("%w", inboundKind.missingOr(i.Type))
	}
	return i.Options.Validate(at)
}

func (o *Options) validateInbounds(at Path) error {
	var r report
	for i := range o.Inbounds {
		r.join(o.Inbounds[i].Validate(at.Index(i)))
	}
	r.join(nameTags(at, len(o.Inbounds), func(i int) (string, *string) {
		return o.Inbounds[i].Type, &o.Inbounds[i].Tag
	}))
	for i := range o.Inbounds {
		for j := range i {
			if addr, port, clash := clashes(o.Inbounds[i].Options, o.Inbounds[j].Options); clash {
				r.add(at.Index(i).Key("listen_port"), "port %d of %s is already taken by %s (%q)",
					port, addr, at.Index(j), short(o.Inbounds[j].Tag))
				break
			}
		}
	}
	return r.err()
}

// clashes reports whether two inbounds would bind one port of one address.
func clashes(a, b InboundOptions) (addr string, port uint16, clash bool) {
	x, ok1 := a.(interface{ listener() *Listen })
	y, ok2 := b.(interface{ listener() *Listen })
	if !ok1 || !ok2 {
		return "", 0, false
	}
	l, m := x.listener(), y.listener()
	apart := l.BindInterface != "" && m.BindInterface != "" && l.BindInterface != m.BindInterface
	if l.ListenPort == 0 || l.ListenPort != m.ListenPort || apart || !sameNetwork(a, b) {
		return "", 0, false
	}
	for _, one := range l.Listen {
		for _, other := range m.Listen {
			if overlap(one, other) {
				return one, l.ListenPort, true
			}
		}
	}
	return "", 0, false
}

// sameNetwork reports whether both listen on TCP, or both on UDP.
func sameNetwork(a, b InboundOptions) bool {
	tcp1, udp1 := networksOf(a)
	tcp2, udp2 := networksOf(b)
	return tcp1 && tcp2 || udp1 && udp2
}

func networksOf(o InboundOptions) (tcp, udp bool) {
	if p, ok := o.(interface {
		HasTCP() bool
		HasUDP() bool
	}); ok {
		return p.HasTCP(), p.HasUDP()
	}
	return true, false
}

// overlap is the kernel's rule for listening sockets: "::" takes every address, 0.0.0.0 every IPv4.
func overlap(a, b string) bool {
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	switch {
	case a == ListenAll || b == ListenAll:
		return true
	case err1 != nil || err2 != nil:
		return false // reported elsewhere
	}
	x, y = x.Unmap(), y.Unmap()
	switch {
	case x == netip.IPv6Unspecified() || y == netip.IPv6Unspecified():
		return true
	case x == netip.IPv4Unspecified():
		return y.Is4()
	case y == netip.IPv4Unspecified():
		return x.Is4()
	}
	return x == y
}

func (l *Listen) listener() *Listen { return l }

// Validate fills the defaults of an inbound and requires what an inbound of its own needs.
// The settings of a panel's node are complete, and may be validated, once the panel has filled them.
func (s *Stream) Validate(at Path) error {
	var r report
	r.join(s.Listen.Validate(at))
	r.join(s.check(at))
	if s.TLS != nil {
		r.join(s.TLS.Validate(at.Key("tls")))
	}
	if s.Transport != nil {
		r.join(s.Transport.Validate(at.Key("transport")))
	}
	if len(s.FallbackForALPN) > 0 && (s.TLS == nil || !s.TLS.Enabled) {
		r.add(at.Key("fallback_for_alpn"), "needs TLS: without it no ALPN is negotiated; write fallback, or tls.enabled")
	}
	return r.err()
}

// check has what holds for an inbound and for the incomplete settings of a node alike, TLS,
// transport and listen apart.
func (s *Stream) check(at Path) error {
	var r report
	if s.Fallback != nil {
		r.join(s.Fallback.Validate(at.Key("fallback")))
	}
	for _, alpn := range sortedKeys(s.FallbackForALPN) {
		server := s.FallbackForALPN[alpn]
		in := at.Key("fallback_for_alpn")
		if alpn == "" {
			r.add(in, `names the ALPN "", must be a protocol such as "h2" or "http/1.1"`)
			continue
		}
		r.join(server.Validate(in.Key(alpn)))
	}
	r.join(checkPaths(s.FallbackForPath, at.Key("fallback_for_path")))
	if s.Limits != nil {
		r.join(s.Limits.check(at.Key("limits")))
	}
	return r.err()
}

// checkPaths looks at servers by path. A path that no request line has would never be met.
func checkPaths(servers map[string]Server, at Path) error {
	var r report
	for _, path := range sortedKeys(servers) {
		server := servers[path]
		unfit := func(c rune) bool { return c <= ' ' || c == '?' || c == '#' || c > '~' }
		switch {
		case !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, unfit):
			r.add(at, `names the path %q, must be one such as "/ws" or "/blog/", escaped and without a query`, short(path))
		case len(path) > maxFallbackPath:
			r.add(at, "names a path of %d bytes, must be at most %d", len(path), maxFallbackPath)
		default:
			r.join(server.Validate(at.Key(path)))
		}
	}
	return r.err()
}

// maxFallbackPath is within what is read of a request before it goes to its fallback.
const maxFallbackPath = 1024

// Validate fills the defaults of an inbound; listen_port is required.
func (l *Listen) Validate(at Path) error {
	if len(l.Listen) == 0 {
		l.Listen = Listable[string]{defaultListen}
	}
	l.MPTCP = l.MPTCP || l.TCPMultiPath // one switch with two names: either may be read
	l.TCPMultiPath = l.MPTCP
	fillDuration(&l.TCPTimeout, constant.TCPTimeout)
	fillDuration(&l.UDPTimeout, constant.UDPTimeout)
	fillDuration(&l.HandshakeTimeout, constant.HandshakeTimeout)
	var r report
	if l.ListenPort == 0 {
		r.add(at.Key("listen_port"), "is required, 1 to 65535")
	}
	r.join(l.check(at))
	return r.err()
}

// Bounds of the timeouts of one connection.
const (
	minIdle      = time.Second
	maxTCPIdle   = 7 * 24 * time.Hour
	maxUDPIdle   = 24 * time.Hour
	minHandshake = time.Second
	maxHandshake = time.Minute
)

// check has the bounds of what is written.
func (l *Listen) check(at Path) error {
	var r report
	r.join(checkListen(at.Key("listen"), l.Listen))
	r.join(interfaceName(at.Key("bind_interface"), l.BindInterface))
	if d := time.Duration(l.TCPTimeout); l.TCPTimeout != Never && d != 0 && (d < minIdle || d > maxTCPIdle) {
		r.add(at.Key("tcp_timeout"), `is %s, must be %s to %s, or "-1s" for never`, l.TCPTimeout, Duration(minIdle), Duration(maxTCPIdle))
	}
	r.join(durationIn(at.Key("udp_timeout"), l.UDPTimeout, minIdle, maxUDPIdle))
	r.join(durationIn(at.Key("handshake_timeout"), l.HandshakeTimeout, minHandshake, maxHandshake))
	r.join(checkProxy(at.Key("proxy_protocol"), l.ProxyProtocol))
	r.join(checkProxy(at.Key("udp_proxy_protocol"), l.UDPProxyProtocol))
	for i, text := range l.TrustedProxies {
		prefix, err := parsePrefix(text)
		if err != nil {
			r.add(at.Key("trusted_proxies").item(i, len(l.TrustedProxies)), "is %q, must be a CIDR such as 10.0.0.0/8", short(text))
			continue
		}
		l.TrustedProxies[i] = prefix.String()
	}
	return r.err()
}

func checkProxy(at Path, mode string) error {
	switch mode {
	case "", ProxyOff, ProxyOptional, ProxyRequired:
		return nil
	}
	return at.Errorf("is %q, must be off, optional or required", short(mode))
}

// noDatagrams refuses what is for inbounds that take datagrams from their sockets as they come.
func (l *Listen) noDatagrams(at Path) error {
	if mode := l.UDPProxyProtocol; mode == ProxyOptional || mode == ProxyRequired {
		return at.Key("udp_proxy_protocol").Errorf("is %q, but the inbound reads no datagrams; leave it out", mode)
	}
	return nil
}

// parsePrefix takes a CIDR or one address.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	return prefix.Masked(), nil
}

func checkListen(at Path, list []string) error {
	var r report
	for i, text := range list {
		in := at.item(i, len(list))
		if text == ListenAll {
			if len(list) > 1 {
				r.add(in, `"all" stands alone: it is every local address already`)
			}
			continue
		}
		if _, err := netip.ParseAddr(text); err != nil {
			r.add(in, "%q is not an IP address; write one without a port, or %q", short(text), ListenAll)
			continue
		}
		for j, other := range list[:i] {
			if other != ListenAll && overlap(text, other) {
				r.add(in, "%s shares the port with %s (%s); keep one", text, at.Index(j), other)
				break
			}
		}
	}
	return r.err()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
