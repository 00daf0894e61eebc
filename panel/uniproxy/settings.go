package uniproxy

import (
	"cmp"
	"strings"

	jsoniter "github.com/json-iterator/go"

	"heki/panel"
	"heki/panel/phpjson"
)

// networkMember reads a member of networkSettings, which has the shape of Xray's stream settings.
func (c *config) networkMember(it *jsoniter.Iterator, name string) {
	switch name {
	case "path":
		c.node.Path = phpjson.Text(it)
	case "host", "Host": // with a capital: Shadowsocks of xiaov2board's version 2
		if hosts := phpjson.Texts(it); len(hosts) > 0 {
			c.node.Host = hosts[0]
		}
	case "serviceName", "service_name":
		c.node.ServiceName = phpjson.Text(it)
	case "acceptProxyProtocol":
		c.node.ProxyProtocol = phpjson.Bool(it)
	case "headers":
		c.hostHeader(it)
	case "header": // of tcp
		phpjson.Object(it, func(name string) bool {
			switch name {
			case "type":
				c.tcpHeader = strings.ToLower(phpjson.Text(it))
			case "request":
				phpjson.Object(it, func(name string) bool {
					c.requestMember(it, name)
					return true
				})
			default:
				it.Skip()
			}
			return true
		})
	default:
		it.Skip()
	}
}

// requestMember reads a member of header.request: what clients of tcp with an HTTP header send.
func (c *config) requestMember(it *jsoniter.Iterator, name string) {
	switch name {
	case "path":
		c.node.Paths = phpjson.Texts(it)
	case "headers":
		c.hostHeader(it)
	default:
		it.Skip()
	}
}

// hostHeader reads headers, of which only Host says something about the node.
func (c *config) hostHeader(it *jsoniter.Iterator) {
	phpjson.Object(it, func(name string) bool {
		hosts := phpjson.Texts(it)
		if strings.EqualFold(name, "Host") && len(hosts) > 0 {
			c.node.Host = cmp.Or(c.node.Host, hosts[0])
		}
		return true
	})
}

// tlsSettings is tls_settings, which are REALITY's settings where tls is 2.
type tlsSettings struct {
	serverName string
	dest       string // of older panels; XBoard's target is the server name
	port       int64
	privateKey string
	shortID    string
	xver       int64
	names      []string // server_names, short_ids: xiaov2board's version 2
	shortIDs   []string
	cert       panel.Cert
	ech        bool // clients encrypt their hello for a key of the node
	mldsa65    bool // clients want a second signature
}

func (t *tlsSettings) read(it *jsoniter.Iterator) {
	phpjson.Object(it, func(name string) bool {
		switch name {
		case "server_name":
			t.serverName = phpjson.Text(it)
		case "dest":
			t.dest = phpjson.Text(it)
		case "server_port": // text on every panel
			t.port = phpjson.Named(it, "tls_settings.server_port", phpjson.Int)
		case "private_key":
			t.privateKey = phpjson.Text(it)
		case "short_id":
			t.shortID = phpjson.Text(it)
		case "xver":
			t.xver = phpjson.Named(it, "tls_settings.xver", phpjson.Int)
		case "ech":
			t.ech = echOf(it)
		case "mldsa65Seed":
			t.mldsa65 = phpjson.Text(it) != ""
		case "server_names":
			t.names = phpjson.Texts(it)
		case "short_ids":
			t.shortIDs = phpjson.Texts(it)
		default:
			CertMember(it, name, &t.cert)
		}
		return true
	})
}

// echOf tells whether the node must have a key: XBoard says enabled, xiaov2board custom. Its other modes are
// about the server of a CDN.
func echOf(it *jsoniter.Iterator) (on bool) {
	if it.WhatIsNext() != jsoniter.ObjectValue && it.WhatIsNext() != jsoniter.ArrayValue {
		return phpjson.Text(it) == "custom"
	}
	phpjson.Object(it, func(name string) bool {
		if name == "enabled" {
			on = phpjson.Bool(it)
		} else {
			it.Skip()
		}
		return true
	})
	return on
}

// reality is what the settings say where tls is 2. Node.Check and the inbound judge it.
func (t *tlsSettings) reality() *panel.Reality {
	const https = 443
	r := &panel.Reality{
		Server: cmp.Or(t.dest, t.serverName), ServerPort: uint16(min(max(t.port, 0), 0xffff)),
		PrivateKey: t.privateKey, ShortIDs: []string{t.shortID}, ProxyHeader: int(min(max(t.xver, 0), 9)),
	}
	r.ServerPort = cmp.Or(r.ServerPort, https)
	if t.serverName != "" {
		r.ServerNames = []string{t.serverName}
	}
	if len(t.names) > 0 {
		r.ServerNames = t.names
	}
	if len(t.shortIDs) > 0 {
		r.ShortIDs = t.shortIDs
	}
	return r
}
