package option

import (
	"regexp"
	"strings"
	"testing"
)

// places are the lines and columns in messages.
var places = regexp.MustCompile(` \(line \d+:\d+\)`)

func TestGroup(t *testing.T) {
	for _, tt := range []struct {
		name, outbounds, err string
	}{
		{"members", `{ "type": "direct", "tag": "a" }, { "type": "group", "tag": "g", "outbounds": ["a", "direct", "block"], "pick": "hash:user", "failover": true }`, ""},
		{"one", `{ "type": "group", "outbounds": "direct" }`, ""},
		{"groups", `{ "type": "group", "tag": "g", "outbounds": ["h", "i"] }, { "type": "group", "tag": "h", "outbounds": "i" }, { "type": "group", "tag": "i", "outbounds": "direct" }`, ""},
		{"check", `{ "type": "group", "outbounds": "direct", "pick": "least_latency", "check": { "url": "https://cp.example.org:8443/204", "interval": "30s", "timeout": "2s" } }`, ""},
		{"none", `{ "type": "group" }`, `outbounds[0].outbounds: is required`},
		{"unknown", `{ "type": "group", "outbounds": ["direct", "dierct"] }`, `outbounds[0].outbounds[1]: no outbound has the tag "dierct", did you mean "direct"?`},
		{"twice", `{ "type": "group", "outbounds": ["direct", "direct"] }`, `outbounds[1]: is "direct", which is listed already`},
		{"itself", `{ "type": "group", "tag": "g", "outbounds": ["direct", "g"] }`, `outbounds[0].outbounds[1]: leads back to the group itself: g → g`},
		{"cycle", `{ "type": "group", "tag": "g", "outbounds": "h" }, { "type": "group", "tag": "h", "outbounds": ["direct", "i"] }, { "type": "group", "tag": "i", "outbounds": "g" }`, `leads back to the group itself: h → i → g → h`},
		{"into a cycle", `{ "type": "group", "tag": "g", "outbounds": "h" }, { "type": "group", "tag": "h", "outbounds": "h" }`, `outbounds[1].outbounds: leads back to the group itself: h → h`},
		{"pick", `{ "type": "group", "outbounds": "direct", "pick": "hash:usr" }`, `did you mean "hash:user"?`},
		{"latency of nothing", `{ "type": "group", "outbounds": "direct", "pick": "least_latency" }`, `outbounds[0].check: is required for pick least_latency`},
		{"no url", `{ "type": "group", "outbounds": "direct", "check": {} }`, `outbounds[0].check.url: is required`},
		{"ftp", `{ "type": "group", "outbounds": "direct", "check": { "url": "ftp://cp.example.org" } }`, `must begin with http:// or https://`},
		{"port", `{ "type": "group", "outbounds": "direct", "check": { "url": "http://cp.example.org:0/" } }`, `outbounds[0].check.url`},
		{"user", `{ "type": "group", "outbounds": "direct", "check": { "url": "http://a:b@cp.example.org/" } }`, `has a user`},
		{"interval", `{ "type": "group", "outbounds": "direct", "check": { "url": "http://cp.example.org/", "interval": "1ms" } }`, `outbounds[0].check.interval: is 1ms, must be 1s to 24h`},
		{"timeout", `{ "type": "group", "outbounds": "direct", "check": { "url": "http://cp.example.org/", "timeout": "1h" } }`, `outbounds[0].check.timeout`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(`{ "outbounds": [` + tt.outbounds + `], "inbounds": [{ "type": "trojan", "listen_port": 1, "users": [{ "password": "p" }] }] }`))
			text := ""
			if err != nil {
				text = places.ReplaceAllString(err.Error(), "")
			}
			switch {
			case tt.err == "" && err != nil:
				t.Error(err)
			case tt.err != "" && (!strings.Contains(text, tt.err)):
				t.Errorf("err = %v, want %q", err, tt.err)
			}
		})
	}
}

// A check of many groups that name each other takes no longer than there are groups.
func TestGroupsInLayers(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{ "outbounds": [`)
	for layer := range 40 {
		for _, side := range "abc" {
			next := `"direct"`
			if layer < 39 {
				n := string(rune('0'+(layer+1)/10)) + string(rune('0'+(layer+1)%10))
				next = `["` + n + `a", "` + n + `b", "` + n + `c"]`
			}
			b.WriteString(`{ "type": "group", "tag": "` + string(rune('0'+layer/10)) + string(rune('0'+layer%10)) + string(side) + `", "outbounds": ` + next + ` },`)
		}
	}
	b.WriteString(`], "inbounds": [{ "type": "trojan", "listen_port": 1, "users": [{ "password": "p" }] }] }`)
	if _, err := Parse([]byte(b.String())); err != nil {
		t.Error(err)
	}
}
