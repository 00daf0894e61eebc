package sspanel

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"

	jsoniter "github.com/json-iterator/go"

	"heki/constant"
	"heki/option"
	"heki/panel"
	"heki/panel/phpjson"
)

// The panel's numbers of node kinds that heki serves. Source: reference/panels.md §2.2.
const (
	sortShadowsocks     = 0
	sortShadowsocks2022 = 1
	sortV2Ray           = 11
	sortTrojan          = 14
)

// info is the panel's answer about a node.
type info struct {
	speed  float64 // Mbit/s of each user
	sort   int64
	server string
	muOnly int64 // sort 0: onlyOwn, both, onlyShared
	custom custom
}

// custom is custom_config: free JSON that an administrator types, every value of any type.
type custom struct {
	port        int64 // offset_port_node: the one the node listens on
	network     string
	security    string
	host        string
	path        string
	serviceName string
	header      string // header.type
	paths       []string
	grpc        bool   // the sign of 2021 and 2022
	method      string // of Shadowsocks 2022
	serverKey   string
	vless       bool
	flow        string
	enabled     bool // REALITY
	reality     panel.Reality
	plugin      string   // of Shadowsocks, told to clients alone
	left        []string // members of reality-opts that are not taken
}

func (n *info) read(it *jsoniter.Iterator) {
	phpjson.Object(it, func(name string) bool {
		switch name {
		case "node_speedlimit":
			n.speed = phpjson.Float(it)
		case "sort":
			n.sort = phpjson.Int(it)
		case "mu_only":
			n.muOnly = phpjson.Int(it)
		case "server":
			n.server = phpjson.Text(it)
		case "custom_config":
			phpjson.Object(it, func(name string) bool {
				n.custom.member(it, name)
				return true
			})
		default:
			it.Skip()
		}
		return true
	})
}

func (c *custom) member(it *jsoniter.Iterator, name string) {
	switch name {
	case "offset_port_node":
		c.port = phpjson.Int(it)
	case "network":
		c.network = phpjson.Text(it)
	case "security":
		c.security = phpjson.Text(it)
	case "host":
		c.host = phpjson.Text(it)
	case "path":
		c.path = phpjson.Text(it)
	case "servicename":
		c.serviceName = phpjson.Text(it)
	case "header":
		c.readHeader(it)
	case "grpc":
		c.grpc = phpjson.Bool(it)
	case "method":
		c.method = phpjson.Text(it)
	case "server_key":
		c.serverKey = phpjson.Text(it)
	case "enable_vless":
		c.vless = phpjson.Bool(it)
	case "flow":
		c.flow = phpjson.Text(it)
	case "enable_reality":
		c.enabled = phpjson.Bool(it)
	case "reality-opts":
		c.readReality(it)
	case "plugin":
		c.plugin = phpjson.Text(it)
	default:
		it.Skip()
	}
}

func (c *custom) readHeader(it *jsoniter.Iterator) {
	phpjson.Object(it, func(name string) bool {
		switch name {
		case "type":
			c.header = phpjson.Text(it)
		case "request":
			phpjson.Object(it, func(name string) bool {
				if name == "path" {
					c.paths = phpjson.Texts(it)
				} else {
					it.Skip()
				}
				return true
			})
		default:
			it.Skip()
		}
		return true
	})
}

// readReality reads reality-opts, which XrayR made up. dest is host:port.
func (c *custom) readReality(it *jsoniter.Iterator) {
	const https = 443
	phpjson.Object(it, func(name string) bool {
		switch name {
		case "min_client_ver", "max_client_ver", "max_time_diff":
			if text := phpjson.Text(it); text != "" && text != "0" {
				c.left = append(c.left, "reality-opts."+name)
			}
		case "dest":
			text := phpjson.Text(it)
			c.reality.Server, c.reality.ServerPort = text, https
			if host, port, err := net.SplitHostPort(text); err == nil {
				n, _ := strconv.ParseUint(port, 10, 16)
				c.reality.Server, c.reality.ServerPort = host, uint16(n)
			}
		case "proxy_protocol_ver":
			c.reality.ProxyHeader = int(min(max(phpjson.Int(it), 0), 9))
		case "server_names":
			c.reality.ServerNames = phpjson.Texts(it)
		case "private_key":
			c.reality.PrivateKey = phpjson.Text(it)
		case "short_ids":
			c.reality.ShortIDs = nil // an empty one is one: Texts would drop it from a text
			phpjson.List(it, func() { c.reality.ShortIDs = append(c.reality.ShortIDs, phpjson.Text(it)) })
		default:
			it.Skip()
		}
		return true
	})
}

// ignored names what the panel says and heki does not follow: clients may, or strangers may.
func (n *info) ignored() []string {
	var all []string
	if p := n.custom.plugin; n.sort == sortShadowsocks && p != "" && p != "none" {
		all = append(all, fmt.Sprintf("plugin %.32q, which clients use before Shadowsocks", p))
	}
	if n.custom.enabled {
		for _, name := range n.custom.left {
			all = append(all, name+", which tls.reality of the node's entry may have")
		}
	}
	return all
}

// node turns the answer into a node and what it says about every user.
func (n *info) node() (*panel.Node, terms, error) {
	out := &panel.Node{}
	each := terms{speed: option.MbpsToBytes(n.speed)}
	var err error
	switch {
	case n.sort == sortShadowsocks2022:
		out.Protocol = constant.TypeShadowsocks
		out.Cipher = cmp.Or(n.custom.method, "2022-blake3-aes-128-gcm")
		out.ServerKey = n.custom.serverKey
		each.passwd = true
	case n.sort != sortV2Ray && n.sort != sortTrojan:
		return nil, each, fmt.Errorf("sort %d is a kind of node that this version does not serve", n.sort)
	case n.custom.port == 0 && strings.Contains(n.server, ";"):
		return n.byAddress(each)
	case n.sort == sortV2Ray:
		err = n.custom.v2ray(out)
	default:
		err = n.custom.trojan(out)
	}
	if err != nil {
		return nil, each, err
	}
	if out.Port, err = portOf(n.custom.port, "custom_config.offset_port_node"); err != nil {
		return nil, each, err
	}
	each.flow = out.Flow
	return out, each, nil
}

// v2ray is VMess, or VLESS by XrayR's marks.
func (c *custom) v2ray(out *panel.Node) error {
	out.Protocol = constant.TypeVMess
	if c.vless || c.enabled {
		out.Protocol, out.Flow = constant.TypeVLESS, c.flow
	}
	switch strings.ToLower(c.security) {
	case "", "none":
	case "tls", "xtls":
		out.TLS, out.ServerName = panel.TLSOn, c.host
	default:
		return fmt.Errorf("custom_config.security is %.32q, must be none or tls", c.security)
	}
	c.protect(out)
	return c.carry(out)
}

// trojan always has TLS.
func (c *custom) trojan(out *panel.Node) error {
	out.Protocol, out.TLS, out.ServerName = constant.TypeTrojan, panel.TLSOn, c.host
	c.protect(out)
	return c.carry(out)
}

// protect notes REALITY.
func (c *custom) protect(out *panel.Node) {
	if !c.enabled {
		return
	}
	r := c.reality
	out.TLS, out.Reality = panel.TLSReality, &r
}

func (c *custom) carry(out *panel.Node) error {
	out.Carrier = panel.Carrier{Network: c.network, Path: c.path, Host: c.host, ServiceName: c.serviceName}
	if c.grpc {
		out.Network = constant.TransportGRPC
	}
	switch plain := out.Network == "" || strings.EqualFold(out.Network, "tcp"); {
	case c.header == "" || c.header == "none":
	case c.header == "http" && plain:
		out.Network, out.Path = constant.TransportTCPHTTPHeader, ""
		if out.Paths = c.paths; len(c.paths) == 0 {
			out.Path = c.path
		}
	case plain:
		return fmt.Errorf("custom_config.header.type is %.32q, which heki does not serve", c.header)
	}
	return nil
}

func portOf(n int64, name string) (uint16, error) {
	switch {
	case n == 0:
		return 0, fmt.Errorf("%s is missing: the panel does not say on which port the node listens", name)
	case n < 0 || n > math.MaxUint16:
		return 0, fmt.Errorf("%s is %d, must be 1 to 65535", name, n)
	}
	return uint16(n), nil
}
