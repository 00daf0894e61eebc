package provider

import (
	"os"
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	for name, want := range map[string]string{
		"cloudflare": "cloudflare", "dns_cf": "cloudflare", "CF": "cloudflare", "dns_ali": "alidns", "aliyun": "alidns",
		"dns_dp": "dnspod", "dns_tencent": "tencentcloud", "dns_gd": "godaddy", "dns_vultr": "vultr", "httpreq": "httpreq",
	} {
		if got, _ := Canonical(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// Every alias leads to a provider that there is.
func TestAliases(t *testing.T) {
	table := NewTable()
	if n := len(table.Names()); n < 140 {
		t.Errorf("only %d providers", n)
	}
	for name, a := range aliases() {
		if table.makers[a.provider] == nil {
			t.Errorf("%s leads to %s, which there is not", name, a.provider)
		}
	}
}

func TestCheck(t *testing.T) {
	table := NewTable()
	for _, tt := range []struct {
		name string
		env  map[string]string
		want string // a part of the error; empty: none
	}{
		{"dns_cf", map[string]string{"CF_Token": "t", "CF_Account_ID": "x"}, ""},
		{"clodflare", nil, `provider "clodflare" is unknown`},
		{"cloudflare", map[string]string{"PATH": "/tmp"}, `"PATH" cannot be a variable`},
		{"cloudflare", map[string]string{"LD_PRELOAD": "/x.so"}, `"LD_PRELOAD" cannot be a variable`},
		{"cloudflare", map[string]string{"https_proxy": "x"}, `"https_proxy" cannot be a variable`},
		{"cloudflare", map[string]string{"A=B_C": "x"}, "cannot be a variable"},
	} {
		err := table.Check(tt.name, tt.env)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s %v: %v, want %q", tt.name, tt.env, err, tt.want)
		}
	}
}

// Providers are made of their own variables, by whichever name, and leave none behind.
func TestNew(t *testing.T) {
	table := NewTable()
	t.Setenv("CLOUDFLARE_DNS_API_TOKEN", "of the process")
	for _, tt := range []struct {
		name string
		env  map[string]string
		ok   bool
	}{
		{"dns_cf", map[string]string{"CF_Token": "a secret token", "CF_Account_ID": "x"}, true},
		{"cloudflare", map[string]string{"CLOUDFLARE_EMAIL": "a@b.c", "CLOUDFLARE_API_KEY": "a secret key"}, true},
		{"cloudflare", nil, true}, // by the process's own
		{"dns_dp", map[string]string{"DP_Id": "1", "DP_Key": "a secret key"}, true},
		{"dns_ali", map[string]string{"Ali_Key": "a secret key", "Ali_Secret": "another secret"}, true},
		{"dns_tencent", map[string]string{"Tencent_SecretId": "a secret id", "Tencent_SecretKey": "a secret key"}, true},
		{"httpreq", map[string]string{"HTTPREQ_ENDPOINT": "https://a.example"}, true},
		{"httpreq", map[string]string{"HTTPREQ_ENDPOINT": "a secret\x7f://endpoint"}, false},
		{"gandiv5", nil, false},
	} {
		before := strings.Join(os.Environ(), "\n")
		p, err := table.New(tt.name, tt.env)
		if tt.ok != (err == nil) || tt.ok != (p != nil) {
			t.Errorf("%s: %v, %v", tt.name, p, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error holds a secret: %v", tt.name, err)
		}
		if strings.Join(os.Environ(), "\n") != before {
			t.Errorf("%s: the environment has changed", tt.name)
		}
	}
}
