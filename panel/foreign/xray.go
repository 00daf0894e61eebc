package foreign

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"heki/constant"
	"heki/option"
)

// xray reads an outbound of an Xray configuration. Source: Xray 26.3, infra/conf.
func xray(o *object) (option.Outbound, error) {
	out := option.Outbound{Tag: o.text("tag")}
	protocol := strings.ToLower(o.text("protocol"))
	settings, stream := o.object("settings"), o.object("streamSettings")
	source := o.text("sendThrough")
	o.ignore("mux", "email") // what goes in Mux.Cool may as well go alone
	if o.object("proxySettings").text("tag") != "" {
		o.fail("proxySettings", "is not served: an outbound dials its server itself")
	}
	switch protocol {
	case "freedom", "direct":
		out.Type, out.Options = freedom(o, settings, stream, source)
	case "blackhole", "block":
		settings.ignore("response") // how it is refused
		stream.drop()
		out.Type, out.Options = constant.TypeBlock, new(option.Block)
	default:
		onlyBoth(o, "targetStrategy")
		if t := proxy(o, settings, protocol, &out); t != nil {
			*t.dial = dial(o, stream, source)
			t.carry(stream)
		}
	}
	if err := o.doc.finish(); err != nil {
		return out, err
	}
	return out, out.Options.Validate("")
}

// target is where an outbound to a proxy keeps what all of them have.
type target struct {
	dial      *option.Dial
	tls       **option.ClientTLS // nil: it has none
	transport **option.Transport // likewise
}

func over(d *option.Dial, c *option.Carrier) *target { return &target{d, &c.TLS, &c.Transport} }

// proxy reads the settings of a protocol that goes to a server, or returns nil.
func proxy(o, settings *object, protocol string, out *option.Outbound) *target {
	switch protocol {
	case "socks":
		server, user := endpoint(settings, "servers")
		c := &option.SocksOutbound{Remote: remote(server), Username: user.text("user"), Password: user.text("pass")}
		out.Type, out.Options = constant.TypeSocks, c
		return &target{dial: &c.Dial}
	case "http":
		server, user := endpoint(settings, "servers")
		c := &option.HTTPOutbound{Remote: remote(server), Username: user.text("user"), Password: user.text("pass")}
		c.Headers, _ = headers(settings)
		out.Type, out.Options = constant.TypeHTTP, c
		return &target{dial: &c.Dial, tls: &c.TLS}
	case "shadowsocks":
		server, _ := endpoint(settings, "servers")
		server.ignore("ivCheck", "uotVersion")
		c := &option.ShadowsocksOutbound{Remote: remote(server), Method: server.text("method"), Password: server.text("password")}
		out.Type, out.Options = constant.TypeShadowsocks, c
		return &target{dial: &c.Dial}
	case "trojan":
		server, _ := endpoint(settings, "servers")
		c := &option.TrojanOutbound{Remote: remote(server), Password: server.text("password")}
		out.Type, out.Options = constant.TypeTrojan, c
		return over(&c.Dial, &c.Carrier)
	case "vmess":
		server, user := endpoint(settings, "vnext")
		c := &option.VMessOutbound{Remote: remote(server), UUID: user.text("id"), Security: user.text("security"), AlterID: user.number("alterId", 1<<16)}
		out.Type, out.Options = constant.TypeVMess, c
		return over(&c.Dial, &c.Carrier)
	case "vless":
		server, user := endpoint(settings, "vnext")
		c := &option.VLESSOutbound{Remote: remote(server), UUID: user.text("id")}
		out.Type, out.Options = constant.TypeVLESS, c
		return over(&c.Dial, &c.Carrier)
	}
	settings.drop()
	o.fail("protocol", "is %.32q, must be freedom, blackhole, socks, http, shadowsocks, trojan, vmess or vless", protocol)
	return nil
}

// endpoint returns the one server of the list, and its one user. Since 2025 both may stand in the settings
// themselves.
func endpoint(settings *object, list string) (server, user *object) {
	if server = settings.one(list); server == nil {
		server = settings
	}
	if user = server.one("users"); user == nil {
		user = server
	}
	server.ignore("level", "email")
	user.ignore("level", "email")
	return server, user
}

func remote(server *object) option.Remote {
	return option.Remote{Server: server.text("address"), ServerPort: uint16(server.number("port", 0xffff))}
}

// freedom is a direct outbound, or with a redirect one that sends everything to a server.
func freedom(o, settings, stream *object, source string) (string, option.OutboundOptions) {
	settings.ignore("userLevel")
	onlyBoth(settings, "targetStrategy")
	direct := option.Direct{DomainStrategy: strategy(settings, "domainStrategy")}
	if target := strategy(o, "targetStrategy"); target != "" { // its name since 2025
		direct.DomainStrategy = target
	}
	if source == "origin" {
		direct.Bind, source = "inbound", ""
	}
	direct.Dial = dial(o, stream, source)
	(&target{}).carry(stream)
	to := settings.text("redirect")
	if to == "" {
		return constant.TypeDirect, &direct
	}
	host, port, err := net.SplitHostPort(to)
	n, errPort := strconv.ParseUint(port, 10, 16)
	if err != nil || errPort != nil || host == "" {
		settings.fail("redirect", `is %.64q, must be an address and a port such as "10.0.0.5:80"; port 0 keeps the destination's`, to)
	}
	return constant.TypeRedirect, &option.RedirectOutbound{Direct: direct, Server: host, ServerPort: uint16(n)}
}

// strategy reads which of a name's addresses are dialled. "Use" and "Force" differ in what becomes of a name
// without such an address: Xray's "Use" then leaves it to the system, which may go where it should not.
func strategy(o *object, name string) string {
	text := o.text(name)
	switch strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(text), "use"), "force") {
	case "", "asis", "ip":
		return ""
	case "ipv4":
		return "ipv4_only"
	case "ipv6":
		return "ipv6_only"
	case "ipv4v6":
		return "ipv4_first"
	case "ipv6v4":
		return "ipv6_first"
	}
	o.fail(name, "is %.32q, must be AsIs, UseIP, UseIPv4, UseIPv6, UseIPv4v6, UseIPv6v4 or the same with Force", text)
	return ""
}

// onlyBoth takes a strategy that leaves the choice of address family to heki's dns.
func onlyBoth(o *object, name string) {
	switch text := o.text(name); strings.ToLower(text) {
	case "", "asis", "useip", "forceip":
	default:
		o.fail(name, "is %.32q, which is not served: dns.strategy says which family is used; leave it out", text)
	}
}

// dial reads how the outbound makes its connections.
func dial(o, stream *object, source string) (d option.Dial) {
	switch addr, err := netip.ParseAddr(source); {
	case source == "" || err == nil && addr.IsUnspecified():
	case err != nil:
		o.fail("sendThrough", "is %.64q, must be an IP address", source)
	case addr.Unmap().Is4():
		d.Inet4BindAddress = addr.Unmap().String()
	default:
		d.Inet6BindAddress = addr.String()
	}
	sock := stream.object("sockopt")
	d.RoutingMark = uint32(sock.number("mark", 1<<31-1))
	d.BindInterface = sock.text("interface")
	d.TCPMultiPath = sock.is("tcpMptcp")
	if text := sock.text("tcpFastOpen"); text != "" && text != "false" && text != "0" {
		d.TCPFastOpen = true
	}
	onlyBoth(sock, "domainStrategy")
	if sock.text("dialerProxy") != "" {
		sock.fail("dialerProxy", "is not served: an outbound dials its server itself")
	}
	// How a connection is kept alive and paced, and what only a listener has.
	sock.ignore("tcpKeepAliveInterval", "tcpKeepAliveIdle", "tcpCongestion", "tcpWindowClamp", "tcpMaxSeg",
		"tcpUserTimeout", "happyEyeballs", "acceptProxyProtocol", "trustedXForwardedFor", "tproxy", "v6only")
	return d
}
