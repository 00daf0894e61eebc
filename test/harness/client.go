package harness

import (
	"fmt"
	"strings"
	"testing"
)

// Lane is one way through a client: a SOCKS port of its own and one outbound behind it.
type Lane struct {
	Name     string
	User     User
	Encoding string // sing-box and mihomo, VLESS and VMess: how UDP travels; "", packetaddr, xudp
	Security string // VMess: the body's encryption; "" is the client's default
	Padding  bool   // sing-box and mihomo, VMess: global_padding and authenticated_length
	Flow     string // VLESS
	Mux      bool   // Xray: Mux.Cool, eight connections in one
	SingMux  string // sing-box and mihomo: h2mux, smux or yamux; "" is none
	Padded   bool   // sing-box and mihomo: sing-mux with padding
	UTLS     string // sing-box, mihomo; all with REALITY: the browser whose TLS handshake is copied; "" is Go's own
	Road     *Road  // sing-box and mihomo: a way of its own; nil is the client's
	Port     uint16 // and another port of the server; 0 is the client's
	Extra    JSON   // keys of the client's own outbound, laid over those that the rest gives
}

// way is the lane's own, or the client's.
func (l Lane) way(road Road, port uint16) (Road, uint16) {
	if l.Road != nil {
		road = *l.Road
	}
	if l.Port != 0 {
		port = l.Port
	}
	return road, port
}

// Client is a running sing-box, Xray, V2Ray or mihomo.
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
	var ready Socks // mihomo
	switch name {
	case SingBox:
		config = singBoxConfig(road, port, cert, lanes, c.ports)
	case Xray, V2Ray:
		config = xrayConfig(road, port, cert, lanes, c.ports)
	case Mihomo:
		direct := FreePort(t)
		ready = Socks(Address(direct))
		config = mihomoConfig(road, port, cert, lanes, c.ports, direct)
	default:
		t.Fatalf("no client is called %q", name)
	}
	c.Process = Run(t, name, WriteConfig(t, config))
	c.Name += " (client)"
	for _, lane := range lanes {
		c.WaitPort(t, Address(c.ports[lane.Name]))
	}
	switch name {
	case Mihomo:
		c.WaitFor(t, "relays", func() bool { return relays(ready, Address(c.ports[lanes[0].Name])) })
	case SingBox:
		c.WaitFor(t, "knows its network", func() bool { return settled(c.Log()) })
	}
	return c
}

// settled says whether sing-box is past the point where it closes all connections because it has found the
// default interface (NetworkManager.updateInterface): its ports may be open before.
func settled(log string) bool {
	return strings.Contains(log, "sing-box started") &&
		(!strings.Contains(log, "updated default interface") || strings.Contains(log, "updated network environment"))
}
