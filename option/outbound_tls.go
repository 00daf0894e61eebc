package option

import (
	"strings"

	"heki/constant"
)

// ClientTLS configures the client side of TLS, with sing-box's names.
type ClientTLS struct {
	Enabled          bool             `json:"enabled,omitempty"`
	ServerName       string           `json:"server_name,omitempty"` // sent, and in the server's certificate; default the server
	DisableSNI       bool             `json:"disable_sni,omitempty"` // the name is checked, but not sent
	Insecure         bool             `json:"insecure,omitempty"`    // any certificate is taken
	ALPN             Listable[string] `json:"alpn,omitempty"`        // default: what the transport needs
	MinVersion       string           `json:"min_version,omitempty"`
	MaxVersion       string           `json:"max_version,omitempty"`
	CipherSuites     Listable[string] `json:"cipher_suites,omitempty"`     // names, TLS 1.2 and below
	CurvePreferences Listable[string] `json:"curve_preferences,omitempty"` // P256 P384 P521 X25519 X25519MLKEM768
	Certificate      Listable[string] `json:"certificate,omitempty"`       // PEM of what the server's must descend from; default the system's
	CertificatePath  string           `json:"certificate_path,omitempty"`
	HandshakeTimeout Duration         `json:"handshake_timeout,omitempty"` // default 10s
	UTLS             *UTLS            `json:"utls,omitempty"`
}

// UTLS makes the client hello that of a browser.
type UTLS struct {
	Enabled     bool   `json:"enabled,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"` // default chrome
}

// fingerprints are sing-box's; random is one of the browsers, randomized is made up.
var fingerprints = []string{"chrome", "firefox", "edge", "safari", "360", "qq", "ios", "android", "random", "randomized"}

// DefaultFingerprint is what most clients use.
const DefaultFingerprint = "chrome"

// Uses says whether TLS is on; t may be nil.
func (t *ClientTLS) Uses() bool { return t != nil && t.Enabled }

// Validate fills the default timeout. What is not enabled is not checked. A name to check the
// certificate against is the server's when none is written.
func (t *ClientTLS) Validate(at Path) error {
	if !t.Enabled {
		return nil
	}
	fillDuration(&t.HandshakeTimeout, constant.HandshakeTimeout)
	var r report
	if t.ServerName != "" {
		r.join(hostName(at.Key("server_name"), t.ServerName))
	}
	r.join(checkALPN(at.Key("alpn"), t.ALPN))
	r.join(checkVersions(at, t.MinVersion, t.MaxVersion))
	r.join(checkCiphers(at.Key("cipher_suites"), t.CipherSuites))
	r.join(checkCurves(at.Key("curve_preferences"), t.CurvePreferences))
	if len(t.Certificate) > 0 && t.CertificatePath != "" {
		r.add(at.Key("certificate_path"), "is set beside certificate; keep one")
	}
	if len(t.Certificate) > 0 && !isPEM(t.Certificate) {
		r.add(at.Key("certificate"), "is not PEM text (-----BEGIN CERTIFICATE-----); a file goes into certificate_path")
	}
	r.join(fileName(at.Key("certificate_path"), t.CertificatePath))
	r.join(durationIn(at.Key("handshake_timeout"), t.HandshakeTimeout, minHandshake, maxHandshake))
	if t.UTLS != nil {
		r.join(t.UTLS.Validate(at.Key("utls")))
		r.join(t.checkFingerprint(at))
	}
	return r.err()
}

// checkFingerprint refuses what the imitated client decides itself.
func (t *ClientTLS) checkFingerprint(at Path) error {
	var r report
	if !t.UTLS.Enabled {
		return nil
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"min_version", t.MinVersion != ""},
		{"max_version", t.MaxVersion != ""},
		{"cipher_suites", len(t.CipherSuites) > 0},
		{"curve_preferences", len(t.CurvePreferences) > 0},
	} {
		if f.set {
			r.add(at.Key(f.name), "stands beside utls, whose fingerprint decides it; keep one")
		}
	}
	return r.err()
}

// Validate fills the default fingerprint.
func (u *UTLS) Validate(at Path) error {
	if !u.Enabled {
		return nil
	}
	if u.Fingerprint = strings.ToLower(u.Fingerprint); u.Fingerprint == "" {
		u.Fingerprint = DefaultFingerprint
	}
	return oneOf(at.Key("fingerprint"), u.Fingerprint, fingerprints...)
}

// serverSide is said of TLS options that only a server has.
var serverSide = never("it belongs into a server's configuration")

var refusedClientTLS = map[string]refusal{
	"acme":                          serverSide,
	"certificate_public_key_sha256": later(""),
	"client_authentication":         serverSide,
	"client_certificate":            later(""),
	"client_certificate_path":       later(""),
	"client_key":                    later(""),
	"client_key_path":               later(""),
	"ech":                           later(""),
	"engine":                        later(""),
	"fragment":                      later(""),
	"fragment_fallback_delay":       later(""),
	"kernel_rx":                     later(""),
	"kernel_tx":                     later(""),
	"key":                           serverSide,
	"key_path":                      serverSide,
	"reality":                       later(" in an outbound"),
	"record_fragment":               later(""),
	"reject_unknown_sni":            serverSide,
	"spoof":                         later(""),
	"spoof_method":                  later(""),
}
