package option

import (
	"crypto/tls"
	"slices"
	"strings"

	"heki/constant"
)

// tlsVersions in rising order; each sorts as text too.
var tlsVersions = []string{"1.0", "1.1", "1.2", "1.3"}

// tlsCurves are crypto/tls's groups by sing-box's names.
var tlsCurves = []string{"P256", "P384", "P521", "X25519", "X25519MLKEM768"}

// Validate fills the default timeout and requires a certificate, a way to get one, or REALITY. What is not enabled is not checked.
func (t *TLS) Validate(at Path) error {
	if !t.Enabled {
		return nil
	}
	fillDuration(&t.HandshakeTimeout, constant.HandshakeTimeout)
	var r report
	r.join(t.check(at))
	if t.HasReality() {
		r.join(t.validateReality(at))
	} else if t.ACME != nil {
		r.join(t.validateACME(at))
	} else if t.SelfSigned {
		if !t.hasNoPair() {
			r.add(at.Key("self_signed"), "stands beside a certificate; keep one")
		}
	} else if t.hasNoCertificate() {
		r.add(at.Key("certificate_path"), "is required with TLS: the PEM file of the certificate chain (or certificate, with the PEM itself)")
		r.add(at.Key("key_path"), "is required with TLS: the PEM file of the private key (or key, with the PEM itself)")
	}
	return r.err()
}

// hasNoCertificate: neither one nor a way to get one.
func (t *TLS) hasNoCertificate() bool { return t.hasNoPair() && t.ACME == nil && !t.SelfSigned }

func (t *TLS) hasNoPair() bool {
	return len(t.Certificate) == 0 && t.CertificatePath == "" && len(t.Key) == 0 && t.KeyPath == ""
}

// check has what holds for the TLS of a node too, whose certificate may stand elsewhere.
func (t *TLS) check(at Path) error {
	var r report
	if t.ServerName != "" {
		r.join(hostName(at.Key("server_name"), t.ServerName))
	}
	r.join(checkALPN(at.Key("alpn"), t.ALPN))
	r.join(checkVersions(at, t.MinVersion, t.MaxVersion))
	r.join(checkCiphers(at.Key("cipher_suites"), t.CipherSuites))
	r.join(checkCurves(at.Key("curve_preferences"), t.CurvePreferences))
	r.join(durationIn(at.Key("handshake_timeout"), t.HandshakeTimeout, minHandshake, maxHandshake))
	r.join(t.checkPair(at))
	if t.Reality != nil {
		r.join(t.Reality.check(at.Key("reality")))
	}
	if t.ACME != nil {
		r.join(t.ACME.check(at.Key("acme")))
	}
	return r.err()
}

func checkALPN(at Path, list []string) error {
	var r report
	for i, name := range list {
		if name == "" || len(name) > 255 { // RFC 7301 §3.1
			r.add(at.item(i, len(list)), `has %d bytes, must be a protocol of 1 to 255 bytes such as "http/1.1"`, len(name))
		}
		r.join(printable(at.item(i, len(list)), name))
	}
	return r.err()
}

// checkCurves brings the names to upper case.
func checkCurves(at Path, list []string) error {
	var r report
	for i, name := range list {
		list[i] = strings.ToUpper(name)
		r.join(oneOf(at.item(i, len(list)), list[i], tlsCurves...))
	}
	return r.err()
}

// checkVersions checks min_version and max_version at a place.
func checkVersions(at Path, low, high string) error {
	var r report
	if low != "" {
		r.join(oneOf(at.Key("min_version"), low, tlsVersions...))
	}
	if high != "" {
		r.join(oneOf(at.Key("max_version"), high, tlsVersions...))
	}
	if r.err() == nil && low != "" && high != "" && low > high {
		r.add(at.Key("min_version"), "is %s, must not be above max_version, %s", low, high)
	}
	return r.err()
}

// checkPair: the certificate and its key, each as text or as a file, both or neither.
func (t *TLS) checkPair(at Path) error {
	var r report
	inline, key := len(t.Certificate) > 0, len(t.Key) > 0
	if inline && t.CertificatePath != "" {
		r.add(at.Key("certificate_path"), "is set beside certificate; keep one")
	}
	if key && t.KeyPath != "" {
		r.add(at.Key("key_path"), "is set beside key; keep one")
	}
	hasCertificate, hasKey := inline || t.CertificatePath != "", key || t.KeyPath != ""
	if hasCertificate && !hasKey {
		r.add(at.Key("key_path"), "is required beside a certificate: the PEM file of its private key (or key, with the PEM itself)")
	}
	if hasKey && !hasCertificate {
		r.add(at.Key("certificate_path"), "is required beside a key: the PEM file of its certificate chain (or certificate, with the PEM itself)")
	}
	if inline && !isPEM(t.Certificate) {
		r.add(at.Key("certificate"), "is not PEM text (-----BEGIN CERTIFICATE-----); a file goes into certificate_path")
	}
	if key && !isPEM(t.Key) {
		r.add(at.Key("key"), "is not PEM text (-----BEGIN PRIVATE KEY-----); a file goes into key_path")
	}
	r.join(fileName(at.Key("certificate_path"), t.CertificatePath))
	r.join(fileName(at.Key("key_path"), t.KeyPath))
	return r.err()
}

// isPEM is only a look: transport/tls reads it for good.
func isPEM(lines []string) bool { return strings.Contains(strings.Join(lines, "\n"), "-----BEGIN ") }

// cipherNames are all that crypto/tls would take, the safe ones.
func cipherNames() []string {
	var names []string
	for _, suite := range tls.CipherSuites() {
		names = append(names, suite.Name)
	}
	return names
}

func checkCiphers(at Path, list []string) error {
	if len(list) == 0 {
		return nil
	}
	known := cipherNames()
	insecure := tls.InsecureCipherSuites()
	var r report
	for i, name := range list {
		in := at.item(i, len(list))
		if slices.ContainsFunc(insecure, func(s *tls.CipherSuite) bool { return s.Name == name }) {
			r.add(in, "is %q, which is insecure and refused; known: %s", name, strings.Join(known, ", "))
			continue
		}
		r.join(oneOf(in, name, known...))
	}
	return r.err()
}
