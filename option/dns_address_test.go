package option

import "testing"

func TestParseDNSAddress(t *testing.T) {
	for _, tt := range []struct {
		text string
		want DNSAddress
	}{
		{"system", DNSAddress{Scheme: "system"}},
		{"8.8.8.8", DNSAddress{"udp", "8.8.8.8", 53, ""}},
		{"8.8.8.8:553", DNSAddress{"udp", "8.8.8.8", 553, ""}},
		{"::1", DNSAddress{"udp", "::1", 53, ""}},
		{"[::1]", DNSAddress{"udp", "::1", 53, ""}},
		{"[::1]:5353", DNSAddress{"udp", "::1", 5353, ""}},
		{"dns.google", DNSAddress{"udp", "dns.google", 53, ""}},
		{"dns.google.:53", DNSAddress{"udp", "dns.google", 53, ""}},
		{"local", DNSAddress{"udp", "local", 53, ""}}, // a host name
		{"udp://1.1.1.1", DNSAddress{"udp", "1.1.1.1", 53, ""}},
		{"tcp://dns.google:53/", DNSAddress{"tcp", "dns.google", 53, ""}},
		{"tcp+local://[2001:db8::1]:1", DNSAddress{"tcp", "2001:db8::1", 1, ""}},
		{"tls://1.1.1.1", DNSAddress{"tls", "1.1.1.1", 853, ""}},
		{"tcp-tls://dns.google:8853", DNSAddress{"tls", "dns.google", 8853, ""}},
		{"quic://dns.adguard.com", DNSAddress{"quic", "dns.adguard.com", 853, ""}},
		{"QUIC+local://[::1]:784", DNSAddress{"quic", "::1", 784, ""}},
		{"https://8.8.8.8/dns-query", DNSAddress{"https", "8.8.8.8", 443, "/dns-query"}},
		{"https://dns.google", DNSAddress{"https", "dns.google", 443, "/dns-query"}},
		{"https://dns.google/", DNSAddress{"https", "dns.google", 443, "/dns-query"}},
		{"https+local://dns.google/resolve/a%20b?k=1", DNSAddress{"https", "dns.google", 443, "/resolve/a%20b?k=1"}},
		{"https://[::1]:8443/q{?dns}", DNSAddress{"https", "::1", 8443, "/q"}},
		{"h3://dns.google:444/dns-query", DNSAddress{"h3", "dns.google", 444, "/dns-query"}},
	} {
		got, err := ParseDNSAddress(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%q = %+v, %v, want %+v", tt.text, got, err, tt.want)
		}
	}
	for _, bad := range []string{
		"", "1.2.3", "8.8.8.8:0", "8.8.8.8:65536", "8.8.8.8:", ":53", "[::1", "::1]:53", "udp://", "https://", "https:///dns-query",
		"ftp://a", "a b", "udp://a/b", "tls://a/b", "[1.1.1.1:53", "https://a/b c", "https://a/b#c", "https://user@a/b", "https://a:b/c", "dot://a",
	} {
		if got, err := ParseDNSAddress(bad); err == nil {
			t.Errorf("%q is taken as %+v", bad, got)
		}
	}
}

func FuzzParseDNSAddress(f *testing.F) {
	for _, s := range []string{"8.8.8.8", "https://[::1]:8443/q{?dns}", "tls://a.b:1/", "quic+local://a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, err := ParseDNSAddress(in)
		if err != nil || a.Scheme == DNSSystem {
			return
		}
		if a.Host == "" || a.Port == 0 || (a.Path != "") != (a.Scheme == DNSHTTPS || a.Scheme == DNSH3) || a.Path != "" && a.Path[0] != '/' {
			t.Errorf("%q became %+v", in, a)
		}
	})
}
