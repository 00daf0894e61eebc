package option

var refusedListen = map[string]refusal{
	"detour":                          never("heki's inbounds do not feed one another"),
	"disable_tcp_keep_alive":          later("; connections are kept alive as the system does"),
	"domain_strategy":                 {text: "was removed from sing-box 1.13; write dns.strategy"},
	"netns":                           later("; start heki inside the namespace"),
	"network":                         never("the protocol carries both networks; refuse one with a rule such as network:udp"),
	"proxy_protocol_accept_no_header": {text: `was removed from sing-box 1.6; write proxy_protocol: "optional"`},
	"routing_mark":                    later("; write it in a direct outbound"),
	"set_system_proxy":                never("heki runs on servers"),
	"sniff":                           {text: "was removed from sing-box 1.13; write route.sniff"},
	"sniff_override_destination":      {text: "was removed from sing-box 1.13; write route.sniff_redirect"},
	"sniff_timeout":                   {text: "was removed from sing-box 1.13; heki waits at most 300ms"},
	"tcp_keep_alive":                  later("; connections are kept alive as the system does"),
	"tcp_keep_alive_interval":         later("; connections are kept alive as the system does"),
	"udp_disable_domain_unmapping":    {text: "was removed from sing-box 1.13; heki never unmaps"},
	"udp_fragment":                    never("the inbound has no UDP socket"),
}

var refusedVLESS = map[string]refusal{
	"decryption": {text: `is not served by this version; only "none" is`, off: "none"},
	"encryption": {text: `is not served by this version; only "none" is`, off: "none"},
	"flow":       {text: "belongs to a user; write users[].flow"},
	"uuid":       {text: "belongs to a user; write users[].uuid"},
}

var refusedUser = map[string]refusal{
	"alterId":    never("only VMess knows it"),
	"alter_id":   never("only VMess knows it"),
	"email":      {text: "is Xray's; write name"},
	"encryption": {text: `is not served by this version; only "none" is`, off: "none"},
	"level":      never("only Xray knows it"),
}

var refusedVMess = map[string]refusal{
	"alterId":  {text: "belongs to a user; write users[].alterId"},
	"security": never("the client chooses it"),
	"uuid":     {text: "belongs to a user; write users[].uuid"},
}

var refusedVMessUser = map[string]refusal{
	"alter_id": {text: "is written alterId"},
	"email":    {text: "is Xray's; write name"},
	"flow":     never("only VLESS knows it"),
	"level":    never("only Xray knows it"),
	"security": never("the client chooses it"),
}

// noCertificateNeeded are the members whose refusal explains a missing certificate.
var noCertificateNeeded = []string{"certificate_path", "key_path"}

var refusedTLS = map[string]refusal{
	"certificate_provider":                 {text: "is not served by this version; write acme, or certificate_path and key_path", excuses: noCertificateNeeded},
	"ech":                                  later(""),
	"client_authentication":                {text: `is not served by this version; only "no" is`, off: "no"},
	"client_certificate":                   later(""),
	"client_certificate_path":              later(""),
	"client_certificate_public_key_sha256": later(""),
	"kernel_rx":                            later(""),
	"kernel_tx":                            later(""),
	"insecure":                             never("a server checks no certificate here; it belongs into the client's configuration"),
	"utls":                                 clientSide,
	"disable_sni":                          clientSide,
	"engine":                               clientSide,
	"fragment":                             clientSide,
	"fragment_fallback_delay":              clientSide,
	"record_fragment":                      clientSide,
	"spoof":                                clientSide,
	"spoof_method":                         clientSide,
	"certificate_public_key_sha256":        clientSide,
	"client_key":                           clientSide,
	"client_key_path":                      clientSide,
}

var refusedACME = map[string]refusal{
	"account_key": later("; an account is made and kept in state_dir"),
	"http_client": never("heki asks the authority directly; HTTPS_PROXY in its environment works"),
}

var refusedACMEDNS01 = map[string]refusal{
	"override_domain": later("; a CNAME of _acme-challenge is followed"),
	"ttl":             later("; write the provider's variable, such as CLOUDFLARE_TTL, into env"),
	"password":        acmeDNSVariables,
	"server_url":      acmeDNSVariables,
	"subdomain":       acmeDNSVariables,
	"username":        acmeDNSVariables,
}

var acmeDNSVariables = refusal{text: "is sing-box's for acmedns; write ACME_DNS_API_BASE and ACME_DNS_STORAGE_PATH into env"}

var refusedReality = map[string]refusal{
	"dest":          {text: "is Xray's; write handshake with server and server_port"},
	"max_time_diff": {text: "is Xray's; write max_time_difference"},
	"public_key":    clientSide,
	"target":        {text: "is Xray's; write handshake with server and server_port"},
	"xver":          {text: "belongs to the target; write handshake.xver"},
}

var refusedRealityTarget = map[string]refusal{
	"bind_interface":     later(""),
	"connect_timeout":    later("; the target has 5s to answer"),
	"detour":             later("; heki dials the target itself"),
	"domain_resolver":    later("; the system resolves the name"),
	"domain_strategy":    later(""),
	"inet4_bind_address": later(""),
	"inet6_bind_address": later(""),
	"netns":              later("; start heki inside the namespace"),
	"routing_mark":       later(""),
	"tcp_fast_open":      later(""),
}

var clientSide = never("it belongs into the client's configuration")

var refusedTransport = map[string]refusal{
	"mode": never("heki does not serve xhttp"),
}

var refusedDirect = map[string]refusal{
	"detour":           later("; a direct outbound dials itself"),
	"override_address": {text: "was removed from sing-box 1.13; write a redirect outbound"},
	"override_port":    {text: "was removed from sing-box 1.13; write a redirect outbound"},
	"proxy_protocol":   {text: "was removed from sing-box 1.6"},
}
