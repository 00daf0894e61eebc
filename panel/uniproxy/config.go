package uniproxy

import (
	"cmp"
	"time"

	jsoniter "github.com/json-iterator/go"

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

	version      int64  // Hysteria; 0 is the time before there were two
	plugin       string // Shadowsocks on XBoard
	pluginOpts   string
	obfs         string // Shadowsocks on v2board, Hysteria
	obfsPassword string
	obfsHost     string
	obfsPath     string
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
		c.port = phpjson.Named(it, name, phpjson.Int)
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
		c.tls = phpjson.Named(it, name, phpjson.Int)
	case "tls_settings":
		c.settings.read(it)
	case "cert_config":
		phpjson.Object(it, func(name string) bool {
			CertMember(it, name, &c.settings.cert)
			return true
		})
	case "server_name":
		c.node.ServerName = phpjson.Text(it)
	case "flow":
		c.node.Flow = phpjson.Text(it)
	case "decryption", "encryption": // XBoard; xiaov2board
		if text := phpjson.Text(it); text != "none" {
			c.decryption = cmp.Or(c.decryption, text)
		}
	case "listen_ip":
		c.node.Listen = phpjson.Text(it)
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
	case "custom_outbounds":
		c.node.CustomOutbounds = objects(it)
	case "custom_routes":
		c.node.CustomRoutes = objects(it)
	case "base_config":
		phpjson.Object(it, func(name string) bool {
			switch name {
			case "push_interval":
				c.node.Push = Seconds(phpjson.Named(it, name, phpjson.Float))
			case "pull_interval":
				c.node.Pull = Seconds(phpjson.Named(it, name, phpjson.Float))
			case "node_report_min_traffic":
				c.node.MinTraffic = kilobytes(phpjson.Named(it, name, phpjson.Float))
			case "device_online_min_traffic":
				c.node.MinOnline = kilobytes(phpjson.Named(it, name, phpjson.Float))
			default:
				it.Skip()
			}
			return true
		})
	default:
		c.protocolMember(it, name)
	}
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

// objects reads a list of objects as their JSON. The list may be a text that holds it.
func objects(it *jsoniter.Iterator) (all []string) {
	if it.WhatIsNext() == jsoniter.ObjectValue { // one of them, or a list with holes
		return []string{value(it)}
	}
	phpjson.List(it, func() {
		if text := value(it); text != "" {
			all = append(all, text)
		}
	})
	return all
}

// kilobytes is a threshold of base_config in bytes: a kB is 1000 of them. Source: v2node.
func kilobytes(kb float64) int64 {
	const most = 1e12
	return int64(min(max(kb, 0), most) * 1000)
}

// Seconds is an interval of base_config.
func Seconds(s float64) time.Duration {
	if s <= 0 || s > 24*3600 {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}
