package uniproxy

import (
	"reflect"
	"testing"

	"heki/panel"
)

// The spellings of certificate orders that panels hand out.
func TestParseCert(t *testing.T) {
	for name, tt := range map[string]struct {
		in   string // members of the answer
		want *panel.Cert
	}{
		"v2node, text": {
			`"tls_settings":{"server_name":"a","cert_mode":"dns","provider":"cloudflare","dns_env":"CF_API_EMAIL=a@b.c, CF_API_KEY=k=1","reject_unknown_sni":"1"}`,
			&panel.Cert{Mode: "dns", Provider: "cloudflare", Env: map[string]string{"CF_API_EMAIL": "a@b.c", "CF_API_KEY": "k=1"}, RejectSNI: true},
		},
		"a comma inside": {
			`"tls_settings":{"cert_mode":"dns","provider":"dnspod","dns_env":"DNSPOD_API_KEY=1,token"}`,
			&panel.Cert{Mode: "dns", Provider: "dnspod", Env: map[string]string{"DNSPOD_API_KEY": "1,token"}},
		},
		"object": {
			`"cert_config":{"cert_mode":"DNS-01","domain":"a.com,*.a.com","provider":"dns_ali","env":{"Ali_Key":"k","Ali_Secret":7},"email":"a@b.c"}`,
			&panel.Cert{Mode: "dns", Domains: []string{"a.com", "*.a.com"}, Provider: "dns_ali", Env: map[string]string{"Ali_Key": "k", "Ali_Secret": "7"}, Email: "a@b.c"},
		},
		"XrayR":     {`"cert_config":{"CertMode":"http","CertDomain":"a.com","DNSEnv":[]}`, &panel.Cert{Mode: "http", Domains: []string{"a.com"}}},
		"PPanel":    {`"tls_settings":{"cert_mode":"dns","cert_dns_provider":"x","cert_dns_env":"A_B=c\nD_E=f"}`, &panel.Cert{Mode: "dns", Provider: "x", Env: map[string]string{"A_B": "c", "D_E": "f"}}},
		"self":      {`"cert_config":{"cert_mode":"self-signed"}`, &panel.Cert{Mode: "self"}},
		"content":   {`"cert_config":{"cert_mode":"content","cert_content":"-----BEGIN\nA\n-----END","key_content":["K1","K2"]}`, &panel.Cert{Mode: "content", Certificate: "-----BEGIN\nA\n-----END", Key: "K1\nK2"}},
		"PHP's []":  {`"cert_config":[]`, nil},
		"null":      {`"cert_config":null`, nil},
		"null mode": {`"cert_config":{"cert_mode":null,"env":null}`, nil},
	} {
		n, err := ParseNode([]byte(`{"protocol":"anytls","server_port":443,`+tt.in+`}`), "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(n.Cert, tt.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, n.Cert, tt.want)
		}
	}
}
