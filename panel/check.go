package panel

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"heki/constant"
	"heki/option"
)

// shape is what a protocol may have around it on a panel.
type shape struct {
	networks []string // beside plain TCP
	tls      []TLSKind
}

// shapeOf reports what protocol may have; false: this version does not serve it.
func shapeOf(protocol string) (shape, bool) {
	every := []string{
		constant.TransportWS, constant.TransportHTTP, constant.TransportGRPC, constant.TransportHTTPUpgrade,
		constant.TransportTCPHTTPHeader,
	}
	switch protocol {
	case constant.TypeVLESS, constant.TypeTrojan:
		return shape{networks: every, tls: []TLSKind{TLSOff, TLSOn, TLSReality}}, true
	case constant.TypeShadowsocks, constant.TypeShadowsocksR:
		return shape{tls: []TLSKind{TLSOff}}, true
	case constant.TypeHysteria2:
		return shape{tls: []TLSKind{TLSOn}}, true
	case constant.TypeAnyTLS:
		return shape{tls: []TLSKind{TLSOff, TLSOn, TLSReality}}, true
	case constant.TypeVMess:
		return shape{networks: every, tls: []TLSKind{TLSOff, TLSOn}}, true
	}
	return shape{}, false
}

// Check reports what this version cannot serve, and what cannot be right. id names the node in
// the text. It brings Network to its canonical name.
func (n *Node) Check(id int64) error {
	if n.Protocol == "" {
		return fmt.Errorf("protocol is missing: set \"type\" in the entry of node %d", id)
	}
	may, served := shapeOf(n.Protocol)
	if !served {
		return fmt.Errorf("node %d is %s, which this version does not serve", id, n.Protocol)
	}
	asked := n.Network
	n.Network = networkName(asked)
	if n.Network != constant.TransportTCP && !slices.Contains(may.networks, n.Network) {
		return fmt.Errorf("node %d uses network %q, which this version does not serve with %s", id, asked, n.Protocol)
	}
	if !slices.Contains(may.tls, n.TLS) {
		switch n.TLS {
		case TLSOff:
			return fmt.Errorf("node %d has no TLS, which %s needs", id, n.Protocol)
		case TLSOn:
			return fmt.Errorf("node %d: tls is 1, and %s has none", id, n.Protocol)
		case TLSReality:
			return fmt.Errorf("node %d uses reality, which this version does not serve with %s", id, n.Protocol)
		}
		return fmt.Errorf("node %d: tls is %d, must be 0, 1 or 2", id, n.TLS)
	}
	if n.TLS == TLSReality && n.Reality == nil {
		return fmt.Errorf("node %d uses reality, but the panel sends no settings of it", id)
	}
	if err := n.Cert.check(id); err != nil {
		return err
	}
	if err := n.checkListen(id); err != nil {
		return err
	}
	if err := n.checkPort(id); err != nil {
		return err
	}
	if err := n.checkKey(id); err != nil {
		return err
	}
	if n.Flow != "" && (n.Flow != FlowVision || n.Protocol != constant.TypeVLESS) {
		return fmt.Errorf("node %d uses flow %q, which this version does not serve", id, n.Flow)
	}
	if n.Flow != "" && (n.Network != constant.TransportTCP || n.TLS == TLSOff) {
		return fmt.Errorf("node %d: flow %s needs TLS or REALITY right on TCP; set the node's network to tcp and its tls to 1 or 2, or remove the flow", id, n.Flow)
	}
	return nil
}

// checkPort: a ShadowsocksR node has ports, each with its own way to speak.
func (n *Node) checkPort(id int64) error {
	several := n.Protocol == constant.TypeShadowsocksR
	switch {
	case several && n.Port != 0:
		return fmt.Errorf("node %d: port is %d, but %s has ports, and its users have", id, n.Port, n.Protocol)
	case !several && n.Port == 0:
		return fmt.Errorf("node %d: port is 0, must be 1 to 65535", id)
	case !several && len(n.Ports) > 0:
		return fmt.Errorf("node %d has ports, which only %s has; write port", id, constant.TypeShadowsocksR)
	}
	return nil
}

// checkKey: users of Shadowsocks 2022 are told apart by what their clients make with the server's key.
// Without it a server could but try all keys, which is what the panel's AEAD nodes are for.
func (n *Node) checkKey(id int64) error {
	size := option.ShadowsocksKeySize(n.Cipher)
	if n.Protocol != constant.TypeShadowsocks || size == 0 {
		return nil
	}
	key, err := base64.StdEncoding.DecodeString(n.ServerKey)
	switch {
	case n.ServerKey == "" && !option.ShadowsocksNames(n.Cipher):
		return fmt.Errorf("node %d: clients of %s do not say who they are, and cannot be told apart; choose 2022-blake3-aes-256-gcm", id, n.Cipher)
	case n.ServerKey == "":
		return fmt.Errorf("node %d has no server_key, and without it clients of %s do not say who they are; enter base64 of %d bytes as server_key of the node", id, n.Cipher, size)
	case err != nil || len(key) != size:
		return fmt.Errorf("node %d: server_key must be base64 of %d bytes with %s", id, size, n.Cipher)
	}
	return nil
}

// checkListen empties an address that only says "all".
func (n *Node) checkListen(id int64) error {
	if n.Listen == "" {
		return nil
	}
	addr, err := netip.ParseAddr(n.Listen)
	if err != nil {
		return fmt.Errorf("node %d: listen is %.64q, must be an IP address", id, n.Listen)
	}
	if addr.IsUnspecified() {
		n.Listen = ""
	}
	return nil
}

// networkName is our name of a network; one that is unknown stays as it is.
func networkName(name string) string {
	switch lower := strings.ToLower(name); lower {
	case "", "tcp", "raw": // raw: Xray's newer name
		return constant.TransportTCP
	case "ws", "websocket":
		return constant.TransportWS
	case "h2", "http":
		return constant.TransportHTTP
	case "grpc", "gun":
		return constant.TransportGRPC
	default:
		return lower
	}
}
