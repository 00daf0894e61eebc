package provider

import "strings"

// alias is another program's name of a provider, with the names that it gives the variables.
type alias struct {
	provider string
	keys     map[string]string // to lego's
}

// Canonical returns lego's name of a provider, and lego's names of the variables where the name that was
// given is another program's: acme.sh's dns_cf, or what XrayR and V2bX tables call it. A name that is
// unknown comes back in lower case.
//
// Source: https://github.com/acmesh-official/acme.sh/wiki/dnsapi and lego's documentation of each provider.
func Canonical(name string) (string, map[string]string) {
	name = strings.ToLower(strings.TrimSpace(name))
	short := strings.TrimPrefix(name, "dns_")
	if a, ok := aliases()[short]; ok {
		return a.provider, a.keys
	}
	if short != name { // acme.sh's dns_vultr is lego's vultr
		return short, nil
	}
	return name, nil
}

func aliases() map[string]alias {
	cloudflare := alias{"cloudflare", map[string]string{
		"CF_Token": "CLOUDFLARE_DNS_API_TOKEN", "CF_Key": "CLOUDFLARE_API_KEY", "CF_Email": "CLOUDFLARE_EMAIL",
		"CF_API_TOKEN": "CLOUDFLARE_DNS_API_TOKEN", "CLOUDFLARE_API_TOKEN": "CLOUDFLARE_DNS_API_TOKEN",
		"DNS_CF_Token": "CLOUDFLARE_DNS_API_TOKEN", "DNS_CF_Key": "CLOUDFLARE_API_KEY", "DNS_CF_Email": "CLOUDFLARE_EMAIL",
		"CF_Zone_ID": unused, "CF_Account_ID": unused, // lego finds the zone by itself
	}}
	ali := alias{"alidns", map[string]string{
		"Ali_Key": "ALICLOUD_ACCESS_KEY", "Ali_Secret": "ALICLOUD_SECRET_KEY",
		"DNS_Ali_Key": "ALICLOUD_ACCESS_KEY", "DNS_Ali_Secret": "ALICLOUD_SECRET_KEY",
	}}
	dnspod := alias{"dnspod", map[string]string{"DP_Id": dnspodID, "DP_Key": dnspodKey}}
	tencent := alias{"tencentcloud", map[string]string{
		"Tencent_SecretId": "TENCENTCLOUD_SECRET_ID", "Tencent_SecretKey": "TENCENTCLOUD_SECRET_KEY",
	}}
	return map[string]alias{
		"cf": cloudflare, "cloudflare": cloudflare,
		"ali": ali, "aliyun": ali, "alidns": ali,
		"dp": dnspod, "dnspod": dnspod,
		"tencent": tencent, "tencentcloud": tencent, "qcloud": tencent,
		"aws": {"route53", nil},
		"gd":  {"godaddy", map[string]string{"GD_Key": "GODADDY_API_KEY", "GD_Secret": "GODADDY_API_SECRET"}},
		"dgon": {"digitalocean", map[string]string{
			"DO_API_KEY": "DO_AUTH_TOKEN",
		}},
		"namesilo":      {"namesilo", map[string]string{"Namesilo_Key": "NAMESILO_API_KEY"}},
		"namecheap":     {"namecheap", map[string]string{"NAMECHEAP_USERNAME": "NAMECHEAP_API_USER"}},
		"linode_v4":     {"linode", map[string]string{"LINODE_V4_API_KEY": "LINODE_TOKEN"}},
		"gandi_livedns": {"gandiv5", map[string]string{"GANDI_LIVEDNS_KEY": "GANDIV5_API_KEY", "GANDI_LIVEDNS_TOKEN": "GANDIV5_PERSONAL_ACCESS_TOKEN"}},
		"vultr":         {"vultr", nil},
		"he":            {"hurricane", nil},
		"duckdns":       {"duckdns", map[string]string{"DuckDNS_Token": "DUCKDNS_TOKEN"}},
		"porkbun":       {"porkbun", nil},
		"hetzner":       {"hetzner", map[string]string{"HETZNER_Token": "HETZNER_API_KEY"}},
	}
}
