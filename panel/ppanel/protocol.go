package ppanel

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strings"

	jsoniter "github.com/json-iterator/go"

	"heki/constant"
	"heki/option"
	"heki/panel"
	"heki/panel/phpjson"
	"heki/panel/uniproxy"
)

// protocol is one of a server's, as far as it concerns a server. The rest is for clients.
type protocol struct {
	word, kind string // the panel's, ours
	port       int64
	security   string
	sni        string
	cert       panel.Cert
	reality    struct {
		addr, privateKey, shortID string
		port                      int64
	}
	carrier    panel.Carrier
	cipher     string
	serverKey  string // text
	flow       string
	encryption string // of VLESS
	obfs       panel.Obfs
	up, down   float64
	padding    []string
	hopPorts   string
}

// read reads one entry of protocols. Names and types: reference/panels.md §7.
func (p *protocol) read(it *jsoniter.Iterator) {
	phpjson.Object(it, func(name string) bool {
		if to := p.text(name); to != nil {
			*to = strings.TrimSpace(phpjson.Named(it, name, phpjson.Text))
			return true
		}
		switch name {
		case "port":
			p.port = phpjson.Named(it, name, phpjson.Int)
		case "reality_server_port":
			p.reality.port = phpjson.Named(it, name, phpjson.Int)
		case "up_mbps":
			p.up = phpjson.Named(it, name, phpjson.Float)
		case "down_mbps":
			p.down = phpjson.Named(it, name, phpjson.Float)
		case "padding_scheme":
			p.padding = phpjson.Lines(it)
		case "cert_mode", "cert_dns_provider", "cert_dns_env":
			uniproxy.CertMember(it, name, &p.cert)
		default:
			it.Skip()
		}
		return true
	})
}

// text is where a member goes that is a text, or nil.
func (p *protocol) text(name string) *string {
	switch name {
	case "security":
		return &p.security
	case "sni":
		return &p.sni
	case "reality_server_addr":
		return &p.reality.addr
	case "reality_private_key":
		return &p.reality.privateKey
	case "reality_short_id":
		return &p.reality.shortID
	case "transport":
		return &p.carrier.Network
	case "host":
		return &p.carrier.Host
	case "path":
		return &p.carrier.Path
	case "service_name":
		return &p.carrier.ServiceName
	case "cipher":
		return &p.cipher
	case "server_key":
		return &p.serverKey
	case "flow":
		return &p.flow
	case "encryption":
		return &p.encryption
	case "obfs":
		return &p.obfs.Type
	case "obfs_password":
		return &p.obfs.Password
	case "obfs_host":
		return &p.obfs.Host
	case "obfs_path":
		return &p.obfs.Path
	case "hop_ports":
		return &p.hopPorts
	}
	return nil
}

// node says it in the words of all panels. panel.Node.Check judges the rest.
func (p *protocol) node() (*panel.Node, error) {
	n := &panel.Node{Protocol: p.kind, ServerName: p.sni}
	if _, known := wordOf(p.kind); !known {
		return n, nil // Check names it
	}
	if p.port < 1 || p.port > math.MaxUint16 {
		return nil, fmt.Errorf("port is %d, must be 1 to 65535", p.port)
	}
	n.Port = uint16(p.port)
	var err error
	switch p.kind {
	case constant.TypeShadowsocks:
		err = p.shadowsocks(n)
	case constant.TypeHysteria2:
		n.TLS, n.UpMbps, n.DownMbps = panel.TLSOn, p.up, p.down
		n.IgnoreClientBandwidth = p.up == 0 && p.down == 0 // as the panel's own node does
		if p.obfs.Type != "" && p.obfs.Type != "none" {
			n.Obfs = &panel.Obfs{Type: p.obfs.Type, Password: p.obfs.Password}
		}
	case constant.TypeAnyTLS:
		n.PaddingScheme = p.padding
		err = p.secure(n)
	default:
		err = p.stream(n)
	}
	if n.TLS == panel.TLSOn && (p.cert.Mode != "" || p.cert.Provider != "" || p.cert.Env != nil) {
		cert := p.cert
		n.Cert = &cert
	}
	return n, err
}

// stream is what carries VLESS, VMess and Trojan.
func (p *protocol) stream(n *panel.Node) error {
	if p.kind == constant.TypeVLESS {
		if p.encryption != "" && p.encryption != "none" {
			return errors.New("encryption is set: VLESS encryption is not served by this version")
		}
		if p.flow != "none" {
			n.Flow = p.flow
		}
	}
	n.Carrier = p.carrier
	return p.secure(n)
}

// secure reads security.
func (p *protocol) secure(n *panel.Node) error {
	switch strings.ToLower(p.security) {
	case "", "none":
	case "tls":
		n.TLS = panel.TLSOn
	case "reality":
		const https = 443
		port := cmp.Or(p.reality.port, https)
		if port < 1 || port > math.MaxUint16 {
			return fmt.Errorf("reality_server_port is %d, must be 1 to 65535", port)
		}
		n.TLS = panel.TLSReality
		n.Reality = &panel.Reality{
			Server: cmp.Or(p.reality.addr, p.sni), ServerPort: uint16(port),
			PrivateKey: p.reality.privateKey, ShortIDs: []string{p.reality.shortID},
		}
		if p.sni != "" {
			n.Reality.ServerNames = []string{p.sni}
		}
	default:
		return fmt.Errorf("security is %.32q, must be none, tls or reality", p.security)
	}
	return nil
}

// shadowsocks reads the cipher, and the key where it has one: the panel sends the key's own characters.
func (p *protocol) shadowsocks(n *panel.Node) error {
	if n.Cipher = p.cipher; n.Cipher == "" {
		return errors.New("cipher is missing")
	}
	if size := option.ShadowsocksKeySize(n.Cipher); size > 0 {
		if len(p.serverKey) != size {
			return fmt.Errorf("server_key has %d characters, must have %d with %s", len(p.serverKey), size, n.Cipher)
		}
		n.ServerKey = base64.StdEncoding.EncodeToString([]byte(p.serverKey))
	}
	if o := p.obfs; o.Type != "" && o.Type != "none" {
		n.Obfs = &panel.Obfs{Type: o.Type, Host: o.Host, Path: o.Path}
	}
	return nil
}
