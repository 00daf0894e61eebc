package option

import (
	"slices"
	"testing"

	"heki/constant"
)

func TestACME(t *testing.T) {
	acme := func(text string) string {
		return inboundWith(`"tls": {"enabled": true, "server_name": "A.example", "acme": ` + text + `}`)
	}
	for name, tt := range map[string]struct {
		in   string
		want string // the only mistake; empty: none
	}{
		"defaults":       {acme(`{}`), ""},
		"sing-box":       {acme(`{"domain": "a.example", "data_directory": "", "email": "a@b.c", "provider": "letsencrypt", "key_type": "p256", "external_account": null, "dns01_challenge": {"provider": "cloudflare", "api_token": "t"}}`), ""},
		"address":        {acme(`{"domain": "192.0.2.1"}`), ""},
		"wildcard":       {acme(`{"domain": "*.a.example"}`), `inbounds[0].tls.acme.domain: is "*.a.example", which an authority gives for dns01_challenge alone`},
		"bad domain":     {acme(`{"domain": ["a.example", "a b"]}`), `inbounds[0].tls.acme.domain[1]: is "a b", must be a host name, "*." and a host name, or an address`},
		"address by dns": {acme(`{"domain": "192.0.2.1", "dns01_challenge": {"provider": "exec"}}`), `inbounds[0].tls.acme.domain: is the address "192.0.2.1", which dns01_challenge cannot prove; remove dns01_challenge`},
		"zerossl":        {acme(`{"provider": "zerossl"}`), `inbounds[0].tls.acme.external_account: is required with zerossl: key_id and mac_key, which its developer page makes`},
		"plain URL":      {acme(`{"provider": "http://ca.example/dir"}`), `inbounds[0].tls.acme.provider: is "http://ca.example/dir", must be letsencrypt, zerossl or the URL of a directory: "https://…"`},
		"no way":         {acme(`{"disable_http_challenge": true, "disable_tls_alpn_challenge": true}`), `inbounds[0].tls.acme.disable_http_challenge: and disable_tls_alpn_challenge leave no way to show whose the domain is; keep one of them, or write dns01_challenge`},
		"one port":       {acme(`{"alternative_http_port": 443}`), `inbounds[0].tls.acme.alternative_http_port: and alternative_tls_port are both 443, and what comes there is one or the other`},
		"key type":       {acme(`{"key_type": "ed25519"}`), `inbounds[0].tls.acme.key_type: is "ed25519", must be one of ec-256, ec-384, rsa-2048, rsa-4096`},
		"default name":   {acme(`{"domain": "a.example", "default_server_name": "b.example"}`), `inbounds[0].tls.acme.default_server_name: is "b.example", must be one of domain`},
		"no domain":      {inboundWith(`"tls": {"enabled": true, "acme": {"email": "a@b.c"}}`), `inbounds[0].tls.acme.domain: is required: the names in the certificate (or tls.server_name, for one)`},
		"both":           {inboundWith(`"tls": {"enabled": true, "acme": {"domain": "a.b"}, "certificate_path": "c", "key_path": "k"}`), `inbounds[0].tls.certificate_path: stands beside acme, which gets its own; remove certificate and key, or acme`},
		"self-signed":    {inboundWith(`"tls": {"enabled": true, "self_signed": true}`), ""},
		"self and file":  {inboundWith(`"tls": {"enabled": true, "self_signed": true, "certificate_path": "c", "key_path": "k"}`), `inbounds[0].tls.self_signed: stands beside a certificate; keep one`},
		"token":          {acme(`{"dns01_challenge": {"provider": "cloudflare", "api_token": "secret\n"}}`), `inbounds[0].tls.acme.dns01_challenge.api_token: holds characters that no such text has, such as a line feed`},
	} {
		_, err := Parse([]byte(tt.in))
		found := MistakesOf(err)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.want != "" && (len(found) != 1 || string(found[0].Path)+": "+found[0].Text.Error() != tt.want):
			t.Errorf("%s:\n got %v\nwant %s", name, err, tt.want)
		}
	}
}

func TestACMEDefaults(t *testing.T) {
	tls := &TLS{Enabled: true, ServerName: "A.Example", ACME: &ACME{KeyType: "RSA2048", DNS01Challenge: &ACMEDNS01{Provider: "x", APIToken: "t", Env: map[string]string{"B": "c"}}}}
	if err := tls.Validate("tls"); err != nil {
		t.Fatal(err)
	}
	if a := tls.ACME; !slices.Equal(a.Domain, Listable[string]{"a.example"}) || a.KeyType != constant.KeyRSA2048 || a.Directory() != acmeLetsEncrypt {
		t.Errorf("got %+v", a)
	}
	if env := tls.ACME.DNS01Challenge.Variables(); len(env) != 2 || env["CLOUDFLARE_DNS_API_TOKEN"] != "t" || env["B"] != "c" {
		t.Errorf("variables are %v", env)
	}
}
