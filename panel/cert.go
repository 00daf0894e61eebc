package panel

import (
	"fmt"
	"slices"
	"strings"

	"heki/option"
)

// How a panel wants a certificate to be had.
const (
	certFile    = "file"    // files on this machine
	certContent = "content" // PEM in the answer
	certHTTP    = "http"    // ACME, http-01
	certTLS     = "tls"     // ACME, tls-alpn-01
	certDNS     = "dns"     // ACME, dns-01
	certSelf    = "self"    // self-signed
)

// apply fills what the operator left open. What the operator wrote wins; an acme of theirs without
// challenges has the panel's.
func (c *Cert) apply(t *option.TLS) {
	if c == nil {
		return
	}
	t.RejectUnknownSNI = t.RejectUnknownSNI || c.RejectSNI
	if len(t.Certificate) > 0 || t.CertificatePath != "" || len(t.Key) > 0 || t.KeyPath != "" || t.SelfSigned {
		return
	}
	if t.ACME != nil {
		c.order(t.ACME)
		return
	}
	switch c.Mode {
	case certFile:
		t.CertificatePath, t.KeyPath = c.Path, c.KeyPath
	case certContent:
		t.Certificate, t.Key = option.Listable[string]{c.Certificate}, option.Listable[string]{c.Key}
	case certHTTP, certTLS, certDNS:
		t.ACME = new(option.ACME)
		c.order(t.ACME)
	case certSelf:
		t.SelfSigned = true
		if len(c.Domains) > 0 && t.ServerName == "" {
			t.ServerName = c.Domains[0]
		}
	}
}

// order fills what a has not.
func (c *Cert) order(a *option.ACME) {
	if len(a.Domain) == 0 {
		a.Domain = slices.Clone(option.Listable[string](c.Domains))
	}
	if a.Email == "" {
		a.Email = c.Email
	}
	if a.KeyType == "" {
		a.KeyType = c.KeyType
	}
	if a.DNS01Challenge != nil || a.DisableHTTPChallenge || a.DisableTLSALPNChallenge {
		return
	}
	switch c.Mode {
	case certHTTP:
		a.DisableTLSALPNChallenge = true
	case certTLS:
		a.DisableHTTPChallenge = true
	case certDNS:
		env := make(map[string]string, len(c.Env))
		for name, value := range c.Env {
			env[name] = value
		}
		a.DNS01Challenge = &option.ACMEDNS01{Provider: c.Provider, Env: env}
	}
}

// check refuses what a panel has no business with: its administrator does not rule this machine. Whoever
// writes a provider that runs programs, or a variable that names a file, into the node's entry may.
func (c *Cert) check(id int64) error {
	if c == nil {
		return nil
	}
	switch strings.ToLower(strings.TrimPrefix(c.Provider, "dns_")) {
	case "exec", "manual":
		return fmt.Errorf("node %d: the panel's DNS provider is %q, which runs programs here; write tls.acme.dns01_challenge into the node's entry if that is meant", id, c.Provider)
	}
	for name := range c.Env {
		if strings.HasSuffix(strings.ToUpper(name), "_FILE") || strings.HasSuffix(strings.ToUpper(name), "_PATH") {
			return fmt.Errorf("node %d: the panel's %.64q names a file on this machine; write tls.acme.dns01_challenge into the node's entry if that is meant", id, name)
		}
	}
	return nil
}

// hint says why a node may lack a certificate.
func (c *Cert) hint() string {
	if c == nil || c.Mode == "" || c.Mode == "none" || slices.Contains([]string{certFile, certContent, certHTTP, certTLS, certDNS, certSelf}, c.Mode) {
		return ""
	}
	return fmt.Sprintf(" (the panel asks for a certificate by %.16q, which heki does not know: name one in tls.certificate_path and tls.key_path, or write tls.acme)", c.Mode)
}
