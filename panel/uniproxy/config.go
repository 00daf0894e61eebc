package uniproxy

import (
	"fmt"
	"math"
	"strings"
	"time"

	jsoniter "github.com/json-iterator/go"

	"heki/constant"
	"heki/panel"
	"heki/panel/phpjson"
)

// config is what ParseNode gathers before it decides.
type config struct {
	node       panel.Node
	port       int64
	tls        int64
	hasTLS     bool
	hasPort    bool
	hasNetwork bool
	tcpHeader  string // networkSettings.header.type
	decryption string
	settings   tlsSettings

	version      int64 // hysteria
	plugin       string
	pluginOpts   string
	obfs         string // hysteria
	obfsPassword string
}

// ParseNode reads a config answer. kind is the protocol where the answer does not name it: always with
// v2board, and with XBoard before November 2025. Unknown members are skipped; what must be there and is
// not is named. panel.Node.Check says whether the node can be served.
func ParseNode(body []byte, kind string) (*panel.Node, error) {
	var c config
	err := phpjson.Decode(body, func(it *jsoniter.Iterator) {
		phpjson.Object(it, func(name string) bool {
			c.member(it, name)
			return true
		})
	})
	if err != nil {
		return nil, err
	}
	return c.finish(kind)
}

// member reads one member of the answer. Names and types: reference/panels.md §6.4.
func (c *config) member(it *jsoniter.Iterator, name string) {
	switch name {
	case "protocol":
		c.node.Protocol = phpjson.Text(it)
	case "server_port":
		c.hasPort = it.WhatIsNext() != jsoniter.NilValue
		c.port = named(it, name, phpjson.Int)
	case "network":
		c.hasNetwork = true
		c.node.Network = phpjson.Text(it)
	case "networkSettings", "network_settings": // 2023 and 2024 sent both
		phpjson.Object(it, func(name string) bool {
			c.networkMember(it, name)
			return true
		})
	case "tls":
		c.hasTLS = it.WhatIsNext() != jsoniter.NilValue
		c.tls = named(it, name, phpjson.Int)
	case "tls_settings":
		c.settings.read(it)
	case "server_name":
		c.node.ServerName = phpjson.Text(it)
	case "flow":
		c.node.Flow = phpjson.Text(it)
	case "decryption":
		c.decryption = phpjson.Text(it)
	case "multiplex":
		phpjson.Object(it, func(name string) bool {
			if name == "enabled" {
				c.node.Multiplex = phpjson.Bool(it)
			} else {
				it.Skip()
			}
			return true
		})
	case "routes":
		phpjson.List(it, func() { c.node.Routes = append(c.node.Routes, route(it)) })
	case "base_config":
		phpjson.Object(it, func(name string) bool {
			switch name {
			case "push_interval":
				c.node.Push = seconds(named(it, name, phpjson.Float))
			case "pull_interval":
				c.node.Pull = seconds(named(it, name, phpjson.Float))
			default:
				it.Skip()
			}
			return true
		})
	default:
		c.protocolMember(it, name)
	}
}

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
	case "version":
		c.version = named(it, name, phpjson.Int)
	case "up_mbps":
		c.node.UpMbps = named(it, name, phpjson.Float)
	case "down_mbps":
		c.node.DownMbps = named(it, name, phpjson.Float)
	case "obfs":
		c.obfs = phpjson.Text(it)
	case "obfs-password":
		c.obfsPassword = phpjson.Text(it)
	case "padding_scheme":
		c.node.PaddingScheme = phpjson.Texts(it)
	default:
		it.Skip()
	}
}

// finish checks what must be there and fills the defaults.
func (c *config) finish(kind string) (*panel.Node, error) {
	n := &c.node
	n.Protocol = protocolName(n.Protocol)
	if n.Protocol == "" {
		n.Protocol = protocolName(kind)
	}
	carried := n.Protocol == constant.TypeVLESS || n.Protocol == constant.TypeVMess // over what, the answer must say
	served := carried || n.Protocol == constant.TypeTrojan
	switch {
	case !c.hasPort && (served || n.Protocol == ""):
		return nil, fmt.Errorf("server_port is missing")
	case !served:
		return n, nil // Check names it; its other members are not ours to judge
	case c.port < 1 || c.port > math.MaxUint16:
		return nil, fmt.Errorf("server_port is %d, must be 1 to 65535", c.port)
	case !c.hasNetwork && carried: // old trojan answers had none
		return nil, fmt.Errorf("network is missing")
	case !c.hasTLS && carried:
		return nil, fmt.Errorf("tls is missing")
	case c.decryption != "" && c.decryption != "none":
		return nil, fmt.Errorf("decryption is set: VLESS encryption is not served by this version")
	case carried && c.tcpHeader != "" && c.tcpHeader != "none" && c.tcpHeader != "http":
		return nil, fmt.Errorf("networkSettings.header.type is %.32q, which heki does not serve", c.tcpHeader)
	}
	if c.tcpHeader == "http" && (n.Network == "" || n.Network == "tcp") {
		n.Network = constant.TransportTCPHTTPHeader
	}
	n.Port = uint16(c.port)
	n.TLS = panel.TLSKind(c.tls)
	if !c.hasTLS { // trojan: the panel's own default
		n.TLS = panel.TLSOn
	}
	if n.ServerName == "" {
		n.ServerName = c.settings.serverName
	}
	if n.TLS == panel.TLSReality {
		n.Reality = c.settings.reality()
	}
	return n, nil
}

// protocolName maps the panels' aliases to our names.
func protocolName(name string) string {
	switch name = strings.ToLower(strings.TrimSpace(name)); name {
	case "v2ray":
		return "vmess"
	case "hysteria2":
		return "hysteria"
	}
	return name
}

// route reads one entry of routes.
func route(it *jsoniter.Iterator) (r panel.Route) {
	phpjson.Object(it, func(name string) bool {
		switch name {
		case "id":
			r.ID = phpjson.Int(it)
		case "match":
			r.Match = phpjson.Texts(it)
		case "action":
			r.Action = phpjson.Text(it)
		case "action_value":
			r.Value = value(it)
		default:
			it.Skip()
		}
		return true
	})
	return r
}

// value reads a text, or any other value as its JSON.
func value(it *jsoniter.Iterator) string {
	switch it.WhatIsNext() {
	case jsoniter.ObjectValue, jsoniter.ArrayValue:
		return string(it.SkipAndReturnBytes())
	}
	return phpjson.Text(it)
}

// named reads one value and puts the member's name before what is wrong with it.
func named[T any](it *jsoniter.Iterator, name string, read func(*jsoniter.Iterator) T) T {
	before := it.Error
	v := read(it)
	if before == nil && it.Error != nil {
		err := it.Error
		it.Error = nil
		phpjson.Fail(it, "%s %v", name, err)
	}
	return v
}

// seconds is an interval of base_config.
func seconds(s float64) time.Duration {
	if s <= 0 || s > 24*3600 {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}
