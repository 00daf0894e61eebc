package option

import (
	"strings"
)

// Ways to carry UDP to any destination over one stream, as written in packet_encoding.
const (
	PacketEncodingNone = "" // one stream for each destination
	PacketEncodingAddr = "packetaddr"
	PacketEncodingXUDP = "xudp"
)

// Carrier is what stands between TCP and the protocol of an outbound.
type Carrier struct {
	TLS       *ClientTLS `json:"tls,omitempty"`
	Transport *Transport `json:"transport,omitempty"`
}

// Validate fills defaults and reports every mistake at once.
func (c *Carrier) Validate(at Path) error {
	var r report
	if c.TLS != nil {
		r.join(c.TLS.Validate(at.Key("tls")))
	}
	if c.Transport != nil {
		r.join(c.Transport.Validate(at.Key("transport")))
	}
	return r.err()
}

// TrojanOutbound reaches destinations through a Trojan server, with sing-box's names.
type TrojanOutbound struct {
	Remote
	Packet
	Carrier
	Password string `json:"password"`
}

// Validate fills defaults and reports every mistake at once. The mistakes never show the password.
func (o *TrojanOutbound) Validate(at Path) error {
	var r report
	r.join(o.Remote.Validate(at))
	r.join(o.Packet.Validate(at))
	r.join(o.Carrier.Validate(at))
	if o.Password == "" {
		r.add(at.Key("password"), "is required, the password of a user of the server")
	}
	return r.err()
}

// VLESSOutbound reaches destinations through a VLESS server, with sing-box's names.
type VLESSOutbound struct {
	Remote
	Packet
	Carrier
	UUID           string  `json:"uuid"`                      // as for users
	PacketEncoding *string `json:"packet_encoding,omitempty"` // "", packetaddr or xudp; default xudp
}

// Validate fills defaults and reports every mistake at once. The mistakes never show the uuid.
func (o *VLESSOutbound) Validate(at Path) error {
	var r report
	r.join(o.Remote.Validate(at))
	r.join(o.Packet.Validate(at))
	r.join(o.Carrier.Validate(at))
	if _, err := ParseUUID(o.UUID); err != nil {
		r.add(at.Key("uuid"), "%w", err)
	}
	if o.PacketEncoding == nil {
		o.PacketEncoding = new(string)
		*o.PacketEncoding = PacketEncodingXUDP
	}
	r.join(checkPacketEncoding(at, *o.PacketEncoding))
	return r.err()
}

func checkPacketEncoding(at Path, name string) error {
	if name == PacketEncodingNone {
		return nil
	}
	return oneOf(at.Key("packet_encoding"), name, PacketEncodingAddr, PacketEncodingXUDP)
}

// vmessCiphers are the ciphers of VMess, as written in security.
var vmessCiphers = []string{"auto", "none", "zero", "aes-128-gcm", "chacha20-poly1305"}

// VMessOutbound reaches destinations through a VMess server, with sing-box's names.
type VMessOutbound struct {
	Remote
	Packet
	Carrier
	UUID                string `json:"uuid"`                           // as for users
	Security            string `json:"security,omitempty"`             // auto, none, zero, aes-128-gcm or chacha20-poly1305; default auto
	AlterID             int    `json:"alter_id,omitempty"`             // 0 only: above it is MD5 authentication
	GlobalPadding       bool   `json:"global_padding,omitempty"`       // pads every chunk
	AuthenticatedLength bool   `json:"authenticated_length,omitempty"` // encrypts the lengths with their own tag
	PacketEncoding      string `json:"packet_encoding,omitempty"`      // "" (default), packetaddr or xudp
}

// Validate fills defaults and reports every mistake at once. The mistakes never show the uuid.
func (o *VMessOutbound) Validate(at Path) error {
	var r report
	r.join(o.Remote.Validate(at))
	r.join(o.Packet.Validate(at))
	r.join(o.Carrier.Validate(at))
	if _, err := ParseUUID(o.UUID); err != nil {
		r.add(at.Key("uuid"), "%w", err)
	}
	if o.Security = strings.ToLower(o.Security); o.Security == "" {
		o.Security = vmessCiphers[0]
	}
	r.join(oneOf(at.Key("security"), o.Security, vmessCiphers...))
	r.join(intIn(at.Key("alter_id"), o.AlterID, 0, maxAlterID))
	if o.AlterID > 0 {
		r.add(at.Key("alter_id"), "is %d, which asks for MD5 authentication: an outbound does not send that, as anybody who sees it can forge it; set it to 0 at the server too", o.AlterID)
	}
	r.join(checkPacketEncoding(at, o.PacketEncoding))
	return r.err()
}

// ShadowsocksOutbound reaches destinations through a Shadowsocks server, with sing-box's names.
type ShadowsocksOutbound struct {
	Remote
	Packet
	Method   string `json:"method"`
	Password string `json:"password"` // 2022: the keys, base64, from the server's to the user's, with ":" between
}

// Validate fills defaults, brings the method to its usual name and reports every mistake at once. The
// mistakes never show the password.
func (o *ShadowsocksOutbound) Validate(at Path) error {
	var r report
	r.join(o.Remote.Validate(at))
	r.join(o.Packet.Validate(at))
	o.Method = strings.ToLower(o.Method)
	if name, ok := ssAliases[o.Method]; ok {
		o.Method = name
	}
	size, ok := ssMethods[o.Method]
	switch {
	case !ok:
		r.add(at.Key("method"), "%s", methodMistake(o.Method))
	case size > 0:
		r.join(o.checkKeys(at.Key("password"), size))
	case o.Password == "":
		r.add(at.Key("password"), "is required, the password of a user of the server")
	}
	return r.err()
}

// checkKeys checks the keys of Shadowsocks 2022.
func (o *ShadowsocksOutbound) checkKeys(at Path, size int) error {
	keys := strings.Split(o.Password, ":")
	if len(keys) > 1 && o.Method == method2022ChaCha {
		return at.Errorf("has %d keys, but clients of %s cannot name themselves; write the server's key alone", len(keys), o.Method)
	}
	for _, key := range keys {
		if err := keyOf(at, key, size); err != nil {
			return err
		}
	}
	return nil
}

var refusedVLESSOutbound = map[string]refusal{
	"encryption": {text: `is not served by this version; only "none" is`, off: "none"},
	"flow":       later(" in an outbound"),
}

var refusedVMessOutbound = map[string]refusal{
	"alterId": {text: "is written alter_id in an outbound"},
	"flow":    never("only VLESS knows it"),
}

var refusedShadowsocksOutbound = map[string]refusal{
	"plugin":      later("; plain Shadowsocks is"),
	"plugin_opts": later("; plain Shadowsocks is"),
}
