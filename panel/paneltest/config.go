package paneltest

import (
	"encoding/json"
	"net/http"
)

// configLocked answers config. The order of the members is the panel's.
func (p *Panel) configLocked(n *node) *answer {
	body := []byte(n.raw)
	if n.raw == "" {
		body = php(configOf(&n.row))
	}
	return &answer{status: http.StatusOK, body: body, etag: etagOf(body)}
}

type tlsSettings struct {
	ServerName    string `json:"server_name"`
	AllowInsecure bool   `json:"allow_insecure"`
	ECH           *int   `json:"ech"`
}

// realitySettings are tls_settings where tls is 2. A form's every number is a text.
type realitySettings struct {
	ServerName    string `json:"server_name"`
	ServerPort    string `json:"server_port"`
	PublicKey     string `json:"public_key"`
	PrivateKey    string `json:"private_key"`
	ShortID       string `json:"short_id"`
	AllowInsecure bool   `json:"allow_insecure"`
}

// tlsOf is tls_settings; nil is null.
func tlsOf(row *Node) any {
	switch {
	case row.TLS == 2:
		port := row.DestPort
		if port == "" {
			port = "443"
		}
		return realitySettings{ServerName: row.ServerName, ServerPort: port, PublicKey: "PUB", PrivateKey: row.PrivateKey, ShortID: row.ShortID}
	case row.TLS != 0 || row.ServerName != "":
		return &tlsSettings{ServerName: row.ServerName}
	}
	return nil
}

type baseConfig struct {
	Push int `json:"push_interval"`
	Pull int `json:"pull_interval"`
}

// routing is where connections go, left out as far as it says nothing.
type routing struct {
	Routes          []Route           `json:"routes,omitempty"`
	CustomOutbounds []json.RawMessage `json:"custom_outbounds,omitempty"`
	CustomRoutes    []json.RawMessage `json:"custom_routes,omitempty"`
}

func (row *Node) routing() routing {
	return routing{row.Routes, row.CustomOutbounds, row.CustomRoutes}
}

// head is what every config answer starts with.
type head struct {
	Protocol        string  `json:"protocol"`
	ListenIP        string  `json:"listen_ip"`
	ServerPort      int     `json:"server_port"`
	Network         *string `json:"network"`
	NetworkSettings any     `json:"networkSettings"`
}

type vlessConfig struct {
	head
	TLS         int        `json:"tls"`
	Flow        *string    `json:"flow"`
	Decryption  *string    `json:"decryption"`
	TLSSettings any        `json:"tls_settings"`
	Multiplex   *multiplex `json:"multiplex"`
	routing
	Base baseConfig `json:"base_config"`
}

type vmessConfig struct {
	head
	TLS         int        `json:"tls"`
	TLSSettings any        `json:"tls_settings"`
	Multiplex   *multiplex `json:"multiplex"`
	routing
	Base baseConfig `json:"base_config"`
}

type trojanConfig struct {
	head
	Host        string     `json:"host"`
	ServerName  string     `json:"server_name"`
	Multiplex   *multiplex `json:"multiplex"`
	TLS         int        `json:"tls"`
	TLSSettings any        `json:"tls_settings"`
	routing
	Base baseConfig `json:"base_config"`
}

type shadowsocksConfig struct {
	head
	Cipher     string  `json:"cipher"`
	Plugin     *string `json:"plugin"`
	PluginOpts *string `json:"plugin_opts"`
	ServerKey  *string `json:"server_key"`
	routing
	Base baseConfig `json:"base_config"`
}

// shadowsocksOf is the answer about a row of Shadowsocks, which has no network.
func shadowsocksOf(row *Node, h head, base baseConfig) shadowsocksConfig {
	h.Network, h.NetworkSettings = nil, nil
	c := shadowsocksConfig{head: h, Cipher: row.Cipher, routing: row.routing(), Base: base}
	if row.ServerKey != "" {
		c.ServerKey = &row.ServerKey
	}
	if row.Obfs != "" {
		plugin, opts := "obfs", "obfs="+row.Obfs+";obfs-host="+row.Host+";path="+row.Path
		c.Plugin, c.PluginOpts = &plugin, &opts
	}
	return c
}

// quicOrAnyTLS is the answer about kinds that have TLS and no network. Hysteria's second version has the
// first one's name.
func quicOrAnyTLS(row *Node, tls any, base baseConfig) map[string]any {
	o := map[string]any{
		"protocol": row.Protocol, "listen_ip": "0.0.0.0", "server_port": row.Port, "network": nil, "networkSettings": nil,
		"server_name": row.ServerName, "tls_settings": tls, "base_config": base,
	}
	if len(row.Routes) > 0 {
		o["routes"] = row.Routes
	}
	if len(row.CustomOutbounds) > 0 {
		o["custom_outbounds"] = row.CustomOutbounds
	}
	if len(row.CustomRoutes) > 0 {
		o["custom_routes"] = row.CustomRoutes
	}
	if row.Protocol == "anytls" {
		o["padding_scheme"] = row.Padding
		if len(row.Padding) == 0 { // the panel fills the default one in
			o["padding_scheme"] = []string{"stop=8", "0=30-30", "1=100-400", "2=400-500,c,500-1000,c,500-1000,c,500-1000,c,500-1000", "3=9-9,500-1000", "4=500-1000", "5=500-1000", "6=500-1000", "7=500-1000"}
		}
		return o
	}
	o["protocol"], o["version"], o["host"] = "hysteria", 2, row.ServerName
	o["up_mbps"], o["down_mbps"], o["obfs"], o["obfs-password"] = row.UpMbps, row.DownMbps, orNull(row.Obfs), orNull(row.ObfsPassword)
	return o
}

type wsSettings struct {
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers,omitempty"`
}

// multiplex is the panel's wish of sing-mux.
type multiplex struct {
	Enabled        bool   `json:"enabled"`
	Protocol       string `json:"protocol"`
	MaxConnections *int   `json:"max_connections"`
	Padding        bool   `json:"padding"`
	Brutal         *int   `json:"brutal"`
}

// networkSettings is in the form of Xray's stream settings; nil is null, as for plain TCP.
func networkSettings(row *Node) any {
	type object = map[string]any
	hosts := func() []string {
		if row.Host == "" {
			return []string{}
		}
		return []string{row.Host}
	}
	switch row.Network {
	case "ws":
		ws := wsSettings{Path: row.Path}
		if row.Host != "" {
			ws.Headers = map[string]string{"Host": row.Host}
		}
		return ws
	case "grpc":
		return object{"serviceName": row.ServiceName}
	case "http", "h2":
		return object{"path": row.Path, "host": hosts()}
	case "httpupgrade":
		return object{"path": row.Path, "host": row.Host, "headers": []int{}}
	}
	if len(row.Paths) > 0 {
		request := object{"path": row.Paths, "headers": object{"Host": hosts()}}
		return object{"header": object{"type": "http", "request": request, "response": []int{}}}
	}
	return nil
}

// configOf is the panel's answer about row.
func configOf(row *Node) any {
	h := head{Protocol: row.Protocol, ListenIP: "0.0.0.0", ServerPort: row.Port}
	network := row.Network
	if network == "" {
		network = "tcp"
	}
	h.Network = &network
	h.NetworkSettings = networkSettings(row)
	tls := tlsOf(row)
	base := baseConfig{Push: row.Push, Pull: row.Pull}
	if base.Push == 0 {
		base.Push = 60
	}
	if base.Pull == 0 {
		base.Pull = 60
	}
	var mux *multiplex
	if row.Multiplex {
		mux = &multiplex{Enabled: true, Protocol: "h2mux", Padding: true}
	}
	switch row.Protocol {
	case "shadowsocks":
		return shadowsocksOf(row, h, base)
	case "hysteria2", "anytls":
		return quicOrAnyTLS(row, tls, base)
	case "vmess":
		return vmessConfig{head: h, TLS: row.TLS, TLSSettings: tls, Multiplex: mux, routing: row.routing(), Base: base}
	case "trojan":
		return trojanConfig{head: h, Host: row.ServerName, ServerName: row.ServerName, TLS: row.TLS, TLSSettings: tls, Multiplex: mux, routing: row.routing(), Base: base}
	}
	return vlessConfig{head: h, TLS: row.TLS, Flow: &row.Flow, TLSSettings: tls, Multiplex: mux, routing: row.routing(), Base: base}
}
