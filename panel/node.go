package panel

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"heki/constant"
	"heki/option"
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
const FlowVision = option.FlowVision

// Node is what a panel says about one node, in the words of all panels. Members that the protocol does
// not have stay empty. It is also the "nodes" entry of a snapshot and of a local panel's file.
type Node struct {
	Protocol   string   `json:"protocol"`         // constant.Type…
	Port       uint16   `json:"port,omitempty"`   // 0 with ShadowsocksR alone
	Listen     string   `json:"listen,omitempty"` // an address; empty, :: and 0.0.0.0 leave it to the operator
	TLS        TLSKind  `json:"tls,omitempty"`
	ServerName string   `json:"server_name,omitempty"`
	Cert       *Cert    `json:"cert,omitempty"`    // with TLSOn
	Reality    *Reality `json:"reality,omitempty"` // with TLSReality
	Carrier
	Multiplex bool    `json:"multiplex,omitempty"` // clients use sing-mux
	Flow      string  `json:"flow,omitempty"`      // VLESS
	AlterID   int     `json:"alter_id,omitempty"`  // VMess, of every user
	Routes    []Route `json:"routes,omitempty"`

	ProxyProtocol bool `json:"proxy_protocol,omitempty"` // each TCP connection begins with a PROXY header; proxy_protocol of the operator wins

	CustomOutbounds []string `json:"custom_outbounds,omitempty"` // XBoard: objects of JSON in the words of Xray or sing-box
	CustomRoutes    []string `json:"custom_routes,omitempty"`    // likewise, after routes

	Cipher    string `json:"cipher,omitempty"`     // Shadowsocks
	ServerKey string `json:"server_key,omitempty"` // Shadowsocks 2022, base64
	Obfs      *Obfs  `json:"obfs,omitempty"`       // Shadowsocks, Hysteria 2

	UpMbps                float64  `json:"up_mbps,omitempty"` // Hysteria 2, of the server; 0: BBR
	DownMbps              float64  `json:"down_mbps,omitempty"`
	IgnoreClientBandwidth bool     `json:"ignore_client_bandwidth,omitempty"`
	PaddingScheme         []string `json:"padding_scheme,omitempty"` // AnyTLS; empty is the default one

	Ports []option.SSRExtraPort `json:"ports,omitempty"` // ShadowsocksR: those that users share; they may have own ones

	MinTraffic int64 `json:"min_traffic,omitempty"` // bytes of a user below which a report waits
	MinOnline  int64 `json:"min_online,omitempty"`  // bytes below which a user is not reported online
	Floor      int64 `json:"floor,omitempty"`       // bytes of a user below which the panel throws a report away

	SpeedBytes int64         `json:"-"` // bytes per second of all users together; 0 is unlimited
	Pull       time.Duration `json:"-"` // the panel's wish; 0 is none
	Push       time.Duration `json:"-"`
}

// place says where it listens.
func (n *Node) place() string {
	if n.Protocol != constant.TypeShadowsocksR {
		return fmt.Sprintf("port %d", n.Port)
	}
	shared := make([]string, len(n.Ports))
	for i, p := range n.Ports {
		shared[i] = strconv.Itoa(int(p.ListenPort))
	}
	switch len(shared) {
	case 0:
		return "ports of its users"
	case 1:
		return "port " + shared[0]
	}
	return "ports " + strings.Join(shared, ", ")
}

// Carrier is what carries a protocol over streams. Hosts are what clients behind a CDN send; they are
// not enforced, as others send theirs.
type Carrier struct {
	Network     string   `json:"network,omitempty"` // constant.Transport… or a panel's other name of it
	Path        string   `json:"path,omitempty"`
	Paths       []string `json:"paths,omitempty"` // tcp_http_header, instead of path
	Host        string   `json:"host,omitempty"`
	ServiceName string   `json:"service_name,omitempty"` // grpc
}

// Cert is what the panel says about the certificate. The operator's own wins.
type Cert struct {
	Mode        string            `json:"mode,omitempty"` // file, content, http, tls, dns, self; empty and none leave it to the operator
	Path        string            `json:"path,omitempty"`
	KeyPath     string            `json:"key_path,omitempty"`
	Certificate string            `json:"certificate,omitempty"` // PEM, with content
	Key         string            `json:"key,omitempty"`
	Domains     []string          `json:"domains,omitempty"` // default the node's server name
	Email       string            `json:"email,omitempty"`
	KeyType     string            `json:"key_type,omitempty"`
	Provider    string            `json:"provider,omitempty"` // of dns
	Env         map[string]string `json:"env,omitempty"`      // its credentials
	RejectSNI   bool              `json:"reject_unknown_sni,omitempty"`
}

// Reality is what the panel says about REALITY, with TLSReality.
type Reality struct {
	Server      string   `json:"server"` // the handshake's target
	ServerPort  uint16   `json:"server_port"`
	ServerNames []string `json:"server_names"`
	PrivateKey  string   `json:"private_key"` // base64url, without padding
	ShortIDs    []string `json:"short_ids"`   // hex
	ProxyHeader int      `json:"xver,omitempty"`
}

// Obfs hides the protocol: simple-obfs before Shadowsocks, Salamander before Hysteria 2.
type Obfs struct {
	Type     string `json:"type"` // http; salamander
	Host     string `json:"host,omitempty"`
	Path     string `json:"path,omitempty"`
	Password string `json:"password,omitempty"`
}
