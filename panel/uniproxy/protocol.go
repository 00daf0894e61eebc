package uniproxy

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"

	jsoniter "github.com/json-iterator/go"

	"heki/constant"
	"heki/panel"
	"heki/panel/phpjson"
)

// protocolMember reads what only one protocol has.
func (c *config) protocolMember(it *jsoniter.Iterator, name string) {
	switch name {
	case "cipher":
		c.node.Cipher = phpjson.Text(it)
	case "server_key":
		c.node.ServerKey = phpjson.Text(it)
	case "plugin":
		c.plugin = phpjson.Text(it)
	case "plugin_opts":
		c.pluginOpts = phpjson.Text(it)
	case "obfs":
		c.obfs = phpjson.Text(it)
	case "obfs-password", "obfs_password":
		c.obfsPassword = phpjson.Text(it)
	case "obfs_settings":
		phpjson.Object(it, func(name string) bool {
			switch name {
			case "path":
				c.obfsPath = phpjson.Text(it)
			case "host":
				c.obfsHost = phpjson.Text(it)
			default:
				it.Skip()
			}
			return true
		})
	case "version":
		c.version = phpjson.Named(it, name, phpjson.Int)
	case "up_mbps":
		c.node.UpMbps = phpjson.Named(it, name, phpjson.Float)
	case "down_mbps":
		c.node.DownMbps = phpjson.Named(it, name, phpjson.Float)
	case "ignore_client_bandwidth":
		c.node.IgnoreClientBandwidth = phpjson.Bool(it)
	case "padding_scheme":
		c.node.PaddingScheme = phpjson.Lines(it)
	default:
		it.Skip()
	}
}

// finish checks what must be there and fills the defaults.
func (c *config) finish(kind string) (*panel.Node, error) {
	n := &c.node
	n.Protocol = protocolName(cmp.Or(n.Protocol, kind), c.version)
	if !c.hasPort && n.Protocol == "" {
		return nil, errors.New("server_port is missing")
	}
	err := c.byProtocol()
	switch {
	case errors.Is(err, errForeign):
		return n, nil // Check names it; its other members are not ours to judge
	case !c.hasPort:
		return nil, errors.New("server_port is missing")
	case c.port < 1 || c.port > math.MaxUint16:
		return nil, fmt.Errorf("server_port is %d, must be 1 to 65535", c.port)
	case err != nil:
		return nil, err
	}
	n.Port = uint16(c.port)
	n.ServerName = cmp.Or(n.ServerName, c.settings.serverName)
	switch n.TLS {
	case panel.TLSReality:
		if c.settings.mldsa65 {
			return nil, errors.New("tls_settings.mldsa65Seed is set: ML-DSA in REALITY is not served by this version; empty it in the node")
		}
		n.Reality = c.settings.reality()
	case panel.TLSOn:
		if c.settings.ech {
			return nil, errors.New("tls_settings.ech is on: ECH is not served by this version; turn it off in the node")
		}
		if cert := c.settings.cert; !reflect.ValueOf(cert).IsZero() {
			n.Cert = &cert
		}
	}
	return n, nil
}

// errForeign: a protocol that heki does not know.
var errForeign = errors.New("unknown protocol")

// byProtocol judges what the protocol must have, and drops what the panel says without meaning it.
func (c *config) byProtocol() error {
	n := &c.node
	n.TLS = panel.TLSKind(c.tls)
	switch n.Protocol {
	case constant.TypeVLESS, constant.TypeVMess:
		if !c.hasNetwork {
			return errors.New("network is missing")
		}
		if !c.hasTLS {
			return errors.New("tls is missing")
		}
		return c.stream()
	case constant.TypeTrojan: // old answers have neither
		n.TLS = c.tlsOr(panel.TLSOn)
		return c.stream()
	case constant.TypeShadowsocks:
		carrier := n.Carrier
		n.TLS, n.Carrier = panel.TLSOff, panel.Carrier{}
		return c.shadowsocks(&carrier)
	case constant.TypeHysteria2:
		n.TLS, n.Carrier, n.ProxyProtocol = panel.TLSOn, panel.Carrier{}, false
		c.salamander()
		return nil
	case constant.TypeAnyTLS:
		n.TLS, n.Carrier = c.tlsOr(panel.TLSOn), panel.Carrier{}
		return nil
	}
	return errForeign
}

// tlsOr is what the panel says about TLS, or its own default.
func (c *config) tlsOr(standard panel.TLSKind) panel.TLSKind {
	if !c.hasTLS {
		return standard
	}
	return panel.TLSKind(c.tls)
}

// stream judges what carries a protocol over TCP.
func (c *config) stream() error {
	switch {
	case c.decryption != "":
		return errors.New("decryption is set: VLESS encryption is not served by this version")
	case c.tcpHeader != "" && c.tcpHeader != "none" && c.tcpHeader != "http":
		return fmt.Errorf("networkSettings.header.type is %.32q, which heki does not serve", c.tcpHeader)
	}
	if n := &c.node; c.tcpHeader == "http" && (n.Network == "" || n.Network == "tcp") {
		n.Network = constant.TransportTCPHTTPHeader
	}
	return nil
}

// shadowsocks reads what is before Shadowsocks: v2board's obfs, XBoard's plugin with its options
// "obfs=http;obfs-host=www.bing.com;path=/", or path and Host of xiaov2board's version 2, whatever its network is
// called (v2node does so).
func (c *config) shadowsocks(carrier *panel.Carrier) error {
	if c.node.Cipher == "" {
		return errors.New("cipher is missing")
	}
	obfs := panel.Obfs{Type: c.obfs, Host: c.obfsHost, Path: c.obfsPath}
	switch strings.ToLower(carrier.Network) {
	case "", "tcp", "http":
	default:
		return fmt.Errorf("network is %.32q, which heki does not serve with Shadowsocks", carrier.Network)
	}
	switch c.plugin {
	case "":
		if obfs.Type == "" && (carrier.Path != "" || carrier.Host != "" || strings.EqualFold(carrier.Network, "http")) {
			obfs = panel.Obfs{Type: "http", Host: carrier.Host, Path: carrier.Path}
		}
	case "obfs", "obfs-local", "simple-obfs":
		for option := range strings.SplitSeq(c.pluginOpts, ";") {
			switch key, value, _ := strings.Cut(strings.TrimSpace(option), "="); key {
			case "obfs":
				obfs.Type = value
			case "obfs-host", "host":
				obfs.Host = value
			case "path", "obfs-uri":
				obfs.Path = value
			}
		}
	default:
		return fmt.Errorf("plugin is %.32q, which heki does not serve", c.plugin)
	}
	if obfs.Type != "" && obfs.Type != "none" {
		c.node.Obfs = &obfs
	}
	return nil
}

// salamander reads Hysteria 2's obfs. A password without a type is what panels leave behind when obfs is
// turned off; a type that is none is the password of panels before 2023-09.
func (c *config) salamander() {
	const salamander = "salamander"
	switch {
	case c.obfs == "":
	case c.obfsPassword == "":
		c.node.Obfs = &panel.Obfs{Type: salamander, Password: c.obfs}
	default:
		c.node.Obfs = &panel.Obfs{Type: c.obfs, Password: c.obfsPassword}
	}
}

// protocolName maps the panels' aliases to our names. "hysteria" is the first version unless version
// says 2; heki does not serve that, and Check says so by that name.
func protocolName(name string, version int64) string {
	switch name = strings.ToLower(strings.TrimSpace(name)); name {
	case "v2ray":
		return constant.TypeVMess
	case "ss":
		return constant.TypeShadowsocks
	case "hysteria":
		if version == 2 {
			return constant.TypeHysteria2
		}
	}
	return name
}
