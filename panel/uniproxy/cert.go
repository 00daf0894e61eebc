package uniproxy

import (
	"strings"

	jsoniter "github.com/json-iterator/go"

	"heki/panel"
	"heki/panel/phpjson"
)

// CertMember reads what tls_settings and XBoard's cert_config say about the certificate. Panels hand out free
// JSON there, so the spellings of the programs that read it are all taken: v2node's, V2bX's, XrayR's,
// PPanel's and sing-box's.
func CertMember(it *jsoniter.Iterator, name string, c *panel.Cert) {
	switch plain := strings.ToLower(strings.ReplaceAll(name, "_", "")); plain {
	case "certmode", "mode":
		c.Mode = certMode(phpjson.Text(it))
	case "certfile", "certpath", "certificatepath":
		c.Path = phpjson.Text(it)
	case "keyfile", "keypath":
		c.KeyPath = phpjson.Text(it)
	case "certcontent", "certificate", "cert", "certpem":
		c.Certificate = strings.Join(phpjson.Lines(it), "\n")
	case "keycontent", "key", "keypem":
		c.Key = strings.Join(phpjson.Lines(it), "\n")
	case "domain", "certdomain", "domains":
		c.Domains = domains(phpjson.Texts(it))
	case "email", "certemail":
		c.Email = phpjson.Text(it)
	case "keytype", "certkeylength":
		c.KeyType = phpjson.Text(it)
	case "provider", "dnsprovider", "certdnsprovider":
		c.Provider = phpjson.Text(it)
	case "env", "dnsenv", "certdnsenv":
		c.Env = variables(it)
	case "rejectunknownsni":
		c.RejectSNI = phpjson.Bool(it)
	default:
		it.Skip()
	}
}

// certMode has one name for each way.
func certMode(text string) string {
	switch mode := strings.ToLower(strings.TrimSpace(text)); mode {
	case "http-01", "http01":
		return "http"
	case "tls-alpn", "tls-alpn-01", "alpn":
		return "tls"
	case "dns-01", "dns01":
		return "dns"
	case "self-signed", "selfsigned", "self_signed":
		return "self"
	default:
		return mode
	}
}

// domains takes "a.com, b.com" apart.
func domains(texts []string) (all []string) {
	for _, text := range texts {
		for name := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == ',' || c == ' ' || c == ';' }) {
			all = append(all, name)
		}
	}
	return all
}

// variables reads an object, a list of "A=b", or a text of them with commas or lines between.
func variables(it *jsoniter.Iterator) map[string]string {
	all := make(map[string]string)
	if it.WhatIsNext() == jsoniter.ObjectValue {
		phpjson.Object(it, func(name string) bool {
			all[name] = phpjson.Text(it)
			return true
		})
		return all
	}
	last := ""
	for _, part := range phpjson.Texts(it) {
		name, value, ok := strings.Cut(part, "=")
		if !ok && last != "" { // a comma inside a value: dnspod's "id,token"
			all[last] += "," + part
			continue
		}
		if last = strings.TrimSpace(name); last != "" {
			all[last] = strings.TrimSpace(value)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
