package harness

import (
	"fmt"
	"testing"
)

// Lane is one way through a client: a SOCKS port of its own and one outbound behind it.
type Lane struct {
	Name     string
	User     User
	Encoding string // sing-box, VLESS: how UDP travels; "", packetaddr, xudp
	Flow     string // sing-box, VLESS
	Mux      bool   // Xray: Mux.Cool, eight connections in one
	UTLS     string // sing-box: the browser whose TLS handshake is copied; "" is Go's own
}

// Client is a running sing-box or Xray.
type Client struct {
	*Process
	ports map[string]uint16
}

// Socks is the SOCKS port of a lane.
func (c *Client) Socks(lane string) Socks {
	port, ok := c.ports[lane]
	if !ok {
		panic(fmt.Sprintf("client has no lane %q", lane))
	}
	return Socks(Address(port))
}

// StartClient runs a real client whose lanes all lead to the server at port of 127.0.0.1.
func StartClient(t testing.TB, name string, road Road, port uint16, cert *Certificate, lanes ...Lane) *Client {
	t.Helper()
	c := &Client{ports: make(map[string]uint16)}
	for _, lane := range lanes {
		c.ports[lane.Name] = FreePort(t)
	}
	var config JSON
	switch name {
	case SingBox:
		config = singBoxConfig(road, port, cert, lanes, c.ports)
	case Xray:
		config = xrayConfig(road, port, cert, lanes, c.ports)
	default:
		t.Fatalf("no client is called %q", name)
	}
	c.Process = Run(t, name, WriteConfig(t, config))
	c.Name += " (client)"
	for _, lane := range lanes {
		c.WaitPort(t, Address(c.ports[lane.Name]))
	}
	return c
}

// singBoxConfig writes a sing-box client: https://sing-box.sagernet.org/configuration/.
func singBoxConfig(road Road, port uint16, cert *Certificate, lanes []Lane, ports map[string]uint16) JSON {
	var inbounds, outbounds, rules []JSON
	for _, lane := range lanes {
		out := JSON{"type": road.Protocol, "tag": "out-" + lane.Name, "server": Loopback, "server_port": port}
		if road.Protocol == "vless" {
			out["uuid"] = lane.User.UUID
			out["packet_encoding"] = lane.Encoding
			if lane.Flow != "" {
				out["flow"] = lane.Flow
			}
		} else {
			out["password"] = lane.User.Password
		}
		if road.TLS {
			tls := JSON{"enabled": true, "server_name": ServerName, "certificate_path": cert.CAPath}
			if lane.UTLS != "" {
				tls["utls"] = JSON{"enabled": true, "fingerprint": lane.UTLS}
			}
			out["tls"] = tls
		}
		if t := road.transport(); t != nil {
			out["transport"] = t
		}
		inbounds = append(inbounds, JSON{"type": "socks", "tag": "in-" + lane.Name, "listen": Loopback, "listen_port": ports[lane.Name]})
		outbounds = append(outbounds, out)
		rules = append(rules, JSON{"inbound": []string{"in-" + lane.Name}, "outbound": "out-" + lane.Name})
	}
	return JSON{
		"log":      JSON{"level": "debug"},
		"inbounds": inbounds, "outbounds": outbounds, "route": JSON{"rules": rules},
	}
}

// xrayConfig writes an Xray client: https://xtls.github.io/config/.
func xrayConfig(road Road, port uint16, cert *Certificate, lanes []Lane, ports map[string]uint16) JSON {
	var inbounds, outbounds, rules []JSON
	for _, lane := range lanes {
		settings := JSON{"address": Loopback, "port": port}
		if road.Protocol == "vless" {
			settings["id"], settings["encryption"] = lane.User.UUID, "none"
		} else {
			settings = JSON{"servers": []JSON{{"address": Loopback, "port": port, "password": lane.User.Password}}}
		}
		out := JSON{"protocol": road.Protocol, "tag": "out-" + lane.Name, "settings": settings, "streamSettings": xrayStream(road, cert)}
		if lane.Mux {
			out["mux"] = JSON{"enabled": true, "concurrency": 8, "xudpConcurrency": 8, "xudpProxyUDP443": "allow"}
		}
		inbounds = append(inbounds, JSON{
			"protocol": "socks", "tag": "in-" + lane.Name, "listen": Loopback, "port": ports[lane.Name],
			"settings": JSON{"auth": "noauth", "udp": true, "ip": Loopback},
		})
		outbounds = append(outbounds, out)
		rules = append(rules, JSON{"type": "field", "inboundTag": []string{"in-" + lane.Name}, "outboundTag": "out-" + lane.Name})
	}
	return JSON{
		"log":      JSON{"loglevel": "info"},
		"inbounds": inbounds, "outbounds": outbounds, "routing": JSON{"rules": rules},
	}
}

func xrayStream(road Road, cert *Certificate) JSON {
	s := JSON{"network": "raw", "security": "none"}
	if road.WS {
		path := Path
		if road.EarlyData > 0 { // always in Sec-WebSocket-Protocol
			path += fmt.Sprintf("?ed=%d", road.EarlyData)
		}
		s["network"], s["wsSettings"] = "ws", JSON{"path": path, "host": ServerName}
	}
	if road.TLS {
		s["security"] = "tls"
		s["tlsSettings"] = JSON{"serverName": ServerName, "pinnedPeerCertSha256": cert.SHA256}
	}
	return s
}
