package option

import (
	"crypto/ecdh"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Reality configures REALITY in place of a certificate, with sing-box's names: whoever is not a client
// reaches Handshake's server.
type Reality struct {
	Enabled           bool             `json:"enabled,omitempty"`
	Handshake         RealityTarget    `json:"handshake"`
	PrivateKey        string           `json:"private_key"`                   // X25519, of heki generate reality-keypair
	ShortID           Listable[string] `json:"short_id,omitempty"`            // even numbers of up to 16 hex digits; default ""
	ServerNames       Listable[string] `json:"server_names,omitempty"`        // what clients may ask for; default tls.server_name, else handshake.server
	MaxTimeDifference Duration         `json:"max_time_difference,omitempty"` // of a client's clock; default any
	MinClientVersion  string           `json:"min_client_version,omitempty"`  // such as 1.8.0; default any
	MaxClientVersion  string           `json:"max_client_version,omitempty"`
}

// RealityTarget is the server whose handshake is imitated.
type RealityTarget struct {
	Server     string `json:"server"`
	ServerPort uint16 `json:"server_port,omitempty"` // default 443
	Xver       int    `json:"xver,omitempty"`        // the version of the PROXY header sent to it; 0 is none
}

// RealityKeySize is the length in bytes of a private key.
const RealityKeySize = 32

// maxTimeDifference is more than a wrong time zone makes.
const maxTimeDifference = 24 * time.Hour

// defaultTLSPort of a target.
const defaultTLSPort = 443

// validateReality fills the defaults of t.Reality. at is t's.
func (t *TLS) validateReality(at Path) error {
	o := t.Reality
	var r report
	if o.Handshake.ServerPort == 0 {
		o.Handshake.ServerPort = defaultTLSPort
	}
	if o.Handshake.Server == "" {
		r.add(at.Key("reality").Key("handshake").Key("server"), "is required: a host name or an IP address of a site with TLS 1.3 and HTTP/2")
	}
	if o.PrivateKey == "" {
		r.add(at.Key("reality").Key("private_key"), "is required: the PrivateKey that heki generate reality-keypair prints")
	}
	if len(o.ServerNames) == 0 {
		o.fillNames(t.ServerName)
	}
	if len(o.ServerNames) == 0 && o.Handshake.Server != "" {
		r.add(at.Key("reality").Key("server_names"), "is required: the names that clients send, each in the certificate of handshake.server (or tls.server_name, for one)")
	}
	if !t.hasNoCertificate() {
		r.add(at.Key("certificate_path"), "stands beside reality, which needs no certificate; remove certificate and key, or reality")
	}
	if t.MaxVersion != "" && t.MaxVersion != "1.3" {
		r.add(at.Key("max_version"), "is %s, but REALITY is TLS 1.3", t.MaxVersion)
	}
	return r.err()
}

// fillNames takes tls.server_name, or the target's name.
func (o *Reality) fillNames(name string) {
	if name == "" {
		name = o.Handshake.Server
	}
	if _, err := netip.ParseAddr(name); err != nil && name != "" {
		o.ServerNames = Listable[string]{strings.ToLower(name)}
	}
}

// check has the bounds of what is written.
func (o *Reality) check(at Path) error {
	var r report
	r.join(o.Handshake.check(at.Key("handshake")))
	if _, err := o.Key(); o.PrivateKey != "" && err != nil {
		r.add(at.Key("private_key"), "%w", err)
	}
	for i, id := range o.ShortID {
		if _, err := ParseShortID(id); err != nil {
			r.add(at.Key("short_id").item(i, len(o.ShortID)), "%w", err)
		}
	}
	for i, name := range o.ServerNames {
		o.ServerNames[i] = strings.ToLower(name)
		if !validHost(name) {
			r.add(at.Key("server_names").item(i, len(o.ServerNames)), "is %q, must be a host name", short(name))
		}
	}
	if d := time.Duration(o.MaxTimeDifference); d < 0 || d > maxTimeDifference || d > 0 && d < time.Second {
		r.add(at.Key("max_time_difference"), "is %s, must be 1s to %s, or 0s for any", o.MaxTimeDifference, Duration(maxTimeDifference))
	}
	low, err1 := ParseClientVersion(o.MinClientVersion)
	high, err2 := ParseClientVersion(o.MaxClientVersion)
	if err1 != nil {
		r.add(at.Key("min_client_version"), "%w", err1)
	}
	if err2 != nil {
		r.add(at.Key("max_client_version"), "%w", err2)
	}
	if o.MaxClientVersion != "" && err1 == nil && err2 == nil && slices.Compare(low[:], high[:]) > 0 {
		r.add(at.Key("min_client_version"), "is %s, must not be above max_client_version, %s", o.MinClientVersion, o.MaxClientVersion)
	}
	return r.err()
}

func (h *RealityTarget) check(at Path) error {
	var r report
	if h.Server != "" {
		r.join(hostName(at.Key("server"), h.Server))
	}
	if h.Xver < 0 || h.Xver > 2 {
		r.add(at.Key("xver"), "is %d, must be 0, 1 or 2", h.Xver)
	}
	return r.err()
}

// Key decodes the private key, in the URL or the standard alphabet of base64, padded or not.
func (o *Reality) Key() (*ecdh.PrivateKey, error) {
	text := strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(o.PrivateKey), "=")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != RealityKeySize {
		return nil, fmt.Errorf("must be the base64 of %d bytes, as heki generate reality-keypair prints it", RealityKeySize)
	}
	return ecdh.X25519().NewPrivateKey(raw)
}

// ParseShortID decodes a short id; missing bytes at the end are zero.
func ParseShortID(text string) (id [8]byte, err error) {
	if len(text)%2 != 0 || len(text) > 2*len(id) {
		return id, fmt.Errorf("is %q, must be an even number of hex digits, at most %d", short(text), 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return id, fmt.Errorf("is %q, must be hex digits: 0 to 9, a to f", short(text))
	}
	return id, nil
}

// ParseClientVersion decodes x.y.z; missing parts are zero.
func ParseClientVersion(text string) (v [3]byte, err error) {
	if text == "" {
		return v, nil
	}
	parts := strings.Split(text, ".")
	if len(parts) > len(v) {
		err = errors.New("too many parts")
	}
	for i, part := range parts {
		n, perr := strconv.ParseUint(part, 10, 8)
		if perr != nil || err != nil {
			return v, fmt.Errorf("is %q, must be up to three numbers of at most 255, such as 1.8.0", short(text))
		}
		v[i] = byte(n)
	}
	return v, nil
}
