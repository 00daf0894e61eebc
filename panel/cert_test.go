package panel

import (
	"encoding/json"
	"reflect"
	"testing"

	"heki/option"
)

// What a panel orders, and what the operator wrote, which wins.
func TestCertApply(t *testing.T) {
	dns := &option.ACMEDNS01{Provider: "dns_cf", Env: map[string]string{"CF_Token": "t"}}
	for _, tt := range []struct {
		name        string
		cert        Cert
		local, want option.TLS
	}{
		{"none", Cert{Mode: "none", RejectSNI: true}, option.TLS{}, option.TLS{RejectUnknownSNI: true}},
		{"file", Cert{Mode: "file", Path: "c", KeyPath: "k"}, option.TLS{}, option.TLS{CertificatePath: "c", KeyPath: "k"}},
		{"file and own", Cert{Mode: "file", Path: "c", KeyPath: "k"}, option.TLS{CertificatePath: "a", KeyPath: "b"}, option.TLS{CertificatePath: "a", KeyPath: "b"}},
		{"content", Cert{Mode: "content", Certificate: "C", Key: "K"}, option.TLS{}, option.TLS{Certificate: []string{"C"}, Key: []string{"K"}}},
		{"http", Cert{Mode: "http", Domains: []string{"a"}, Email: "e"}, option.TLS{}, option.TLS{ACME: &option.ACME{Domain: []string{"a"}, Email: "e", DisableTLSALPNChallenge: true}}},
		{"tls", Cert{Mode: "tls", KeyType: "ec-384"}, option.TLS{}, option.TLS{ACME: &option.ACME{KeyType: "ec-384", DisableHTTPChallenge: true}}},
		{"dns", Cert{Mode: "dns", Provider: "dns_cf", Env: dns.Env}, option.TLS{}, option.TLS{ACME: &option.ACME{DNS01Challenge: dns}}},
		{"dns and own email", Cert{Mode: "dns", Provider: "dns_cf", Env: dns.Env, Email: "e"}, option.TLS{ACME: &option.ACME{Email: "mine"}}, option.TLS{ACME: &option.ACME{Email: "mine", DNS01Challenge: dns}}},
		{"dns and own way", Cert{Mode: "dns", Provider: "dns_cf", Env: dns.Env}, option.TLS{ACME: &option.ACME{DisableHTTPChallenge: true}}, option.TLS{ACME: &option.ACME{DisableHTTPChallenge: true}}},
		{"self", Cert{Mode: "self", Domains: []string{"a"}}, option.TLS{}, option.TLS{SelfSigned: true, ServerName: "a"}},
		{"self and own", Cert{Mode: "http"}, option.TLS{SelfSigned: true}, option.TLS{SelfSigned: true}},
	} {
		got := tt.local
		got.ACME = tt.local.ACME.Clone()
		tt.cert.apply(&got)
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s:\n got %+v %+v\nwant %+v %+v", tt.name, got, got.ACME, tt.want, tt.want.ACME)
		}
	}
}

// A panel's administrator is not this machine's.
func TestCertCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		cert Cert
		ok   bool
	}{
		"cloudflare": {Cert{Mode: "dns", Provider: "cloudflare", Env: map[string]string{"CF_Token": "t"}}, true},
		"program":    {Cert{Mode: "dns", Provider: "EXEC", Env: map[string]string{"EXEC_MODE": "/bin/sh"}}, false},
		"alias":      {Cert{Mode: "dns", Provider: "dns_exec"}, false},
		"file":       {Cert{Mode: "dns", Provider: "httpreq", Env: map[string]string{"HTTPREQ_PASSWORD_FILE": "/etc/shadow"}}, false},
		"path":       {Cert{Mode: "dns", Provider: "acmedns", Env: map[string]string{"ACME_DNS_STORAGE_PATH": "/etc/passwd"}}, false},
	} {
		n := &Node{Protocol: "trojan", Port: 1, TLS: TLSOn, Cert: &tt.cert}
		if err := n.Check(1); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A snapshot keeps the order whole.
func TestCertSnapshot(t *testing.T) {
	var want Cert
	v := reflect.ValueOf(&want).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{"a"}))
		case reflect.Map:
			f.Set(reflect.ValueOf(map[string]string{"A": "b"}))
		default:
			t.Fatalf("fill %s", f.Kind())
		}
	}
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Cert
	if err := json.Unmarshal(raw, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}
