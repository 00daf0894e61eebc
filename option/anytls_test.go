package option

import (
	"strings"
	"testing"
)

func TestAnyTLS(t *testing.T) {
	entry := func(more string) string {
		return `{"inbounds": [{"type": "anytls", "listen": "::", "listen_port": 8443, "users": [{"name": "sekai", "password": "8JCsPssfgS8tiRwiMlhARg=="}], "tls": {}` + more + `}]}`
	}
	for name, in := range map[string]string{ // as sing-box takes them
		"plain":    entry(``),
		"no mux":   entry(`, "multiplex": {"enabled": false}`),
		"scheme":   entry(`, "padding_scheme": ["stop=8", "0=30-30", "1=100-400", "2=400-500,c,500-1000"]`),
		"one text": entry(`, "padding_scheme": "stop=8\n0=30-30"`),
	} {
		if _, err := Parse([]byte(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for want, in := range map[string]string{
		`: is "x", must be a line such as`: entry(`, "padding_scheme": ["stop=8", "x"]`),
		"transport":                        entry(`, "transport": {"type": "ws"}`),
		"shares connections":               entry(`, "multiplex": {"enabled": true}`),
	} {
		if _, err := Parse([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
