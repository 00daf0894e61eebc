package option

import (
	"cmp"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"heki/constant"
)

// ACME gets the certificate from a certificate authority and renews it, with sing-box's names.
type ACME struct {
	Domain                  Listable[string]     `json:"domain,omitempty"`              // names, "*.name" with dns01_challenge, addresses; default tls.server_name
	DataDirectory           string               `json:"data_directory,omitempty"`      // default: acme in state_dir
	DefaultServerName       string               `json:"default_server_name,omitempty"` // what a client without a server name is taken to ask for
	Email                   string               `json:"email,omitempty"`               // of the account
	Provider                string               `json:"provider,omitempty"`            // letsencrypt (default), zerossl or the URL of a directory
	KeyType                 string               `json:"key_type,omitempty"`            // ec-256 (default), ec-384, rsa-2048, rsa-4096
	Profile                 string               `json:"profile,omitempty"`             // of the authority: shortlived, …
	DisableHTTPChallenge    bool                 `json:"disable_http_challenge,omitempty"`
	DisableTLSALPNChallenge bool                 `json:"disable_tls_alpn_challenge,omitempty"`
	AlternativeHTTPPort     uint16               `json:"alternative_http_port,omitempty"` // where heki listens when something passes port 80 on to it
	AlternativeTLSPort      uint16               `json:"alternative_tls_port,omitempty"`  // the same of port 443
	ExternalAccount         *ACMEExternalAccount `json:"external_account,omitempty"`
	DNS01Challenge          *ACMEDNS01           `json:"dns01_challenge,omitempty"` // instead of the other challenges
}

// ACMEExternalAccount ties an account to one that the operator has with the authority.
type ACMEExternalAccount struct {
	KeyID  string `json:"key_id"`
	MACKey string `json:"mac_key"` // base64url
}

// ACMEDNS01 is the provider that puts the challenge's record into the zone.
type ACMEDNS01 struct {
	Provider string            `json:"provider"`      // lego's name: cloudflare, alidns, …; acme.sh's works too: dns_cf
	Env      map[string]string `json:"env,omitempty"` // its credentials: lego's variables, or acme.sh's

	// sing-box's names of some variables.
	APIToken        string `json:"api_token,omitempty"`  // cloudflare
	ZoneToken       string `json:"zone_token,omitempty"` // cloudflare
	AccessKeyID     string `json:"access_key_id,omitempty"`
	AccessKeySecret string `json:"access_key_secret,omitempty"`
	SecurityToken   string `json:"security_token,omitempty"`
	RegionID        string `json:"region_id,omitempty"` // alidns, these four

	PropagationDelay   Duration         `json:"propagation_delay,omitempty"`   // before the record is looked for; at most 1h
	PropagationTimeout Duration         `json:"propagation_timeout,omitempty"` // default the provider's; -1s: the record is not looked for
	Resolvers          Listable[string] `json:"resolvers,omitempty"`           // host or host:port to look at; default the zone's own servers
}

// Authorities by name. Source: the authorities' documentation.
const (
	acmeLetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"
	acmeZeroSSL     = "https://acme.zerossl.com/v2/DV90"
)

// maxPropagation bounds waits for DNS.
const maxPropagation = time.Hour

// Directory is the URL of the authority.
func (a *ACME) Directory() string {
	switch a.Provider {
	case "", constant.ACMELetsEncrypt:
		return acmeLetsEncrypt
	case constant.ACMEZeroSSL:
		return acmeZeroSSL
	}
	return a.Provider
}

// Variables returns Env and what sing-box's names stand for.
func (d *ACMEDNS01) Variables() map[string]string {
	all := make(map[string]string, len(d.Env)+6)
	for name, value := range map[string]string{
		"CLOUDFLARE_DNS_API_TOKEN":  d.APIToken,
		"CLOUDFLARE_ZONE_API_TOKEN": d.ZoneToken,
		"ALICLOUD_ACCESS_KEY":       d.AccessKeyID,
		"ALICLOUD_SECRET_KEY":       d.AccessKeySecret,
		"ALICLOUD_SECURITY_TOKEN":   d.SecurityToken,
		"ALICLOUD_REGION_ID":        d.RegionID,
	} {
		if value != "" {
			all[name] = value
		}
	}
	maps.Copy(all, d.Env)
	return all
}

// Clone returns a copy that shares nothing.
func (a *ACME) Clone() *ACME {
	if a == nil {
		return nil
	}
	c := *a
	c.Domain = slices.Clone(a.Domain)
	c.ExternalAccount = clonePointer(a.ExternalAccount)
	if d := clonePointer(a.DNS01Challenge); d != nil {
		d.Env, d.Resolvers = maps.Clone(d.Env), slices.Clone(d.Resolvers)
		c.DNS01Challenge = d
	}
	return &c
}

// validateACME fills the defaults and has what only a whole TLS shows. at is t's.
func (t *TLS) validateACME(at Path) error {
	a, in := t.ACME, at.Key("acme")
	a.KeyType = cmp.Or(a.KeyType, constant.KeyEC256)
	var r report
	if len(a.Domain) == 0 && t.ServerName != "" {
		a.Domain = Listable[string]{strings.ToLower(t.ServerName)}
		r.join(a.checkDomains(in))
	}
	if len(a.Domain) == 0 {
		r.add(in.Key("domain"), "is required: the names in the certificate (or tls.server_name, for one)")
	}
	if name := a.DefaultServerName; name != "" && len(a.Domain) > 0 && !slices.Contains(a.Domain, name) {
		r.add(in.Key("default_server_name"), "is %q, must be one of domain", short(name))
	}
	if !t.hasNoPair() {
		r.add(at.Key("certificate_path"), "stands beside acme, which gets its own; remove certificate and key, or acme")
	}
	if t.SelfSigned {
		r.add(at.Key("self_signed"), "stands beside acme; keep one")
	}
	return r.err()
}

// check has the bounds of what is written.
func (a *ACME) check(at Path) error {
	var r report
	r.join(a.checkDomains(at))
	r.join(a.checkAuthority(at))
	if a.KeyType != "" {
		a.KeyType = keyTypeName(a.KeyType)
		r.join(oneOf(at.Key("key_type"), a.KeyType, constant.KeyEC256, constant.KeyEC384, constant.KeyRSA2048, constant.KeyRSA4096))
	}
	if a.DisableHTTPChallenge && a.DisableTLSALPNChallenge && a.DNS01Challenge == nil {
		r.add(at.Key("disable_http_challenge"), "and disable_tls_alpn_challenge leave no way to show whose the domain is; keep one of them, or write dns01_challenge")
	}
	const http, https = 80, 443
	if port := cmp.Or(a.AlternativeHTTPPort, http); port == cmp.Or(a.AlternativeTLSPort, https) {
		r.add(at.Key("alternative_http_port"), "and alternative_tls_port are both %d, and what comes there is one or the other", port)
	}
	r.join(fileName(at.Key("data_directory"), a.DataDirectory))
	r.join(printable(at.Key("profile"), a.Profile))
	if a.DNS01Challenge != nil {
		r.join(a.DNS01Challenge.check(at.Key("dns01_challenge")))
	}
	return r.err()
}

// keyTypeName takes acme.sh's and sing-box's spellings: ec256, p256, 2048, RSA2048.
func keyTypeName(name string) string {
	switch strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(name)) {
	case "ec256", "p256", "ecc256":
		return constant.KeyEC256
	case "ec384", "p384", "ecc384":
		return constant.KeyEC384
	case "rsa2048", "2048":
		return constant.KeyRSA2048
	case "rsa4096", "4096":
		return constant.KeyRSA4096
	}
	return name
}

func (a *ACME) checkDomains(at Path) error {
	var r report
	for i, name := range a.Domain {
		a.Domain[i] = strings.ToLower(name)
		in := at.Key("domain").item(i, len(a.Domain))
		bare, wild := strings.CutPrefix(name, "*.")
		_, err := netip.ParseAddr(bare)
		switch address := err == nil; {
		case !address && !validHost(bare) || address && wild:
			r.add(in, `is %q, must be a host name, "*." and a host name, or an address`, short(name))
		case wild && a.DNS01Challenge == nil:
			r.add(in, "is %q, which an authority gives for dns01_challenge alone", short(name))
		case address && a.DNS01Challenge != nil:
			r.add(in, "is the address %q, which dns01_challenge cannot prove; remove dns01_challenge", short(name))
		}
	}
	return r.err()
}

func (a *ACME) checkAuthority(at Path) error {
	var r report
	if a.Email != "" && (!strings.Contains(strings.Trim(a.Email, "@"), "@") || strings.ContainsAny(a.Email, " \t\r\n,<>")) {
		r.add(at.Key("email"), "is no address such as ops@example.org")
	}
	switch u, err := url.Parse(a.Provider); {
	case a.Provider == "" || a.Provider == constant.ACMELetsEncrypt:
	case a.Provider == constant.ACMEZeroSSL:
		if a.ExternalAccount == nil {
			r.add(at.Key("external_account"), "is required with zerossl: key_id and mac_key, which its developer page makes")
		}
	case err != nil || u.Scheme != "https" || u.Host == "":
		r.add(at.Key("provider"), `is %q, must be letsencrypt, zerossl or the URL of a directory: "https://…"`, short(a.Provider))
	}
	if e := a.ExternalAccount; e != nil {
		if e.KeyID == "" || e.MACKey == "" {
			r.add(at.Key("external_account"), "needs key_id and mac_key")
		}
		r.join(printable(at.Key("external_account").Key("key_id"), e.KeyID))
		r.join(secret(at.Key("external_account").Key("mac_key"), e.MACKey))
	}
	return r.err()
}

func (d *ACMEDNS01) check(at Path) error {
	var r report
	if d.Provider == "" {
		r.add(at.Key("provider"), "is required: one of lego's names, such as cloudflare, alidns, tencentcloud")
	}
	if delay := time.Duration(d.PropagationDelay); delay < 0 || delay > maxPropagation {
		r.add(at.Key("propagation_delay"), "is %s, must be 0s to %s", d.PropagationDelay, Duration(maxPropagation))
	}
	if limit := time.Duration(d.PropagationTimeout); limit > maxPropagation || limit < 0 && limit != -time.Second {
		r.add(at.Key("propagation_timeout"), "is %s, must be at most %s, or -1s for no look", d.PropagationTimeout, Duration(maxPropagation))
	}
	r.join(printable(at.Key("provider"), d.Provider))
	for key, value := range map[string]string{
		"api_token": d.APIToken, "zone_token": d.ZoneToken, "access_key_id": d.AccessKeyID,
		"access_key_secret": d.AccessKeySecret, "security_token": d.SecurityToken, "region_id": d.RegionID,
	} {
		r.join(secret(at.Key(key), value))
	}
	for i, server := range d.Resolvers {
		if host, _, _ := strings.Cut(server, ":"); server == "" || strings.ContainsAny(host, " /") {
			r.add(at.Key("resolvers").item(i, len(d.Resolvers)), "is %q, must be a server such as 1.1.1.1 or 1.1.1.1:53", short(server))
		}
	}
	return r.err()
}

// secret is printable for what must not be repeated.
func secret(at Path, value string) error {
	if printable(at, value) == nil {
		return nil
	}
	return at.Errorf("holds characters that no such text has, such as a line feed")
}
