package panel

import (
	"fmt"
	"strings"
	"time"

	"heki/constant"
)

// TLSKind says what is around the protocol.
type TLSKind int

// The panels' own numbers.
const (
	TLSOff     TLSKind = 0
	TLSOn      TLSKind = 1
	TLSReality TLSKind = 2
)

// FlowVision is the only VLESS flow there is.
const FlowVision = "xtls-rprx-vision"

// Node is what a panel says about one node, in the words of all panels.
// It is also the "nodes" entry of a snapshot and of a local panel's file.
type Node struct {
	Protocol   string  `json:"protocol"`
	Port       uint16  `json:"port"`
	Network    string  `json:"network,omitempty"` // constant.Transport…; "tcp" is read as plain TCP
	Path       string  `json:"path,omitempty"`    // ws
	Host       string  `json:"host,omitempty"`    // what clients send as Host; not enforced
	TLS        TLSKind `json:"tls,omitempty"`
	ServerName string  `json:"server_name,omitempty"`
	Flow       string  `json:"flow,omitempty"` // VLESS
	Routes     []Route `json:"routes,omitempty"`

	SpeedBytes int64         `json:"-"` // bytes per second of all users together; 0 is unlimited
	Pull       time.Duration `json:"-"` // the panel's wish; 0 is none
	Push       time.Duration `json:"-"`
}

// Route is one entry of a panel's routing list.
type Route struct {
	ID     int64    `json:"id,omitempty"`
	Match  []string `json:"match"`
	Action string   `json:"action"`
	Value  string   `json:"action_value,omitempty"`
}

// ActionBlock is the only action served: its matches become audit rules.
const ActionBlock = "block"

// Check reports what this version cannot serve, and what cannot be right. id names the node in
// the text. It brings Network to its canonical name.
func (n *Node) Check(id int64) error {
	switch n.Protocol {
	case constant.TypeVLESS, constant.TypeTrojan, constant.TypeVMess:
	case "":
		return fmt.Errorf("protocol is missing: set \"type\" in the entry of node %d", id)
	default:
		return fmt.Errorf("node %d is %s, which this version does not serve", id, n.Protocol)
	}
	switch strings.ToLower(n.Network) {
	case "", "tcp", "raw": // raw: Xray's newer name
		n.Network = constant.TransportTCP
	case "ws", "websocket":
		n.Network = constant.TransportWS
	default:
		return fmt.Errorf("node %d uses network %q, which this version does not serve", id, n.Network)
	}
	switch n.TLS {
	case TLSOff, TLSOn:
	case TLSReality:
		return fmt.Errorf("node %d uses reality, which this version does not serve", id)
	default:
		return fmt.Errorf("node %d: tls is %d, must be 0, 1 or 2", id, n.TLS)
	}
	if n.Port == 0 {
		return fmt.Errorf("node %d: port is 0, must be 1 to 65535", id)
	}
	if n.Flow != "" && (n.Flow != FlowVision || n.Protocol != constant.TypeVLESS) {
		return fmt.Errorf("node %d uses flow %q, which this version does not serve", id, n.Flow)
	}
	return nil
}

// Rules are the audit lines of n's routes. skipped names the actions that are not served.
func (n *Node) Rules() (lines, skipped []string) {
	for _, r := range n.Routes {
		if r.Action != ActionBlock {
			skipped = append(skipped, fmt.Sprintf("route %d (%s)", r.ID, r.Action))
			continue
		}
		for _, m := range r.Match {
			if m = strings.TrimSpace(m); m != "" {
				lines = append(lines, m)
			}
		}
	}
	return lines, skipped
}
