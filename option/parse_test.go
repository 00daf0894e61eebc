package option

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

// lines returns the lines of err, none for nil.
func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func compareLines(t *testing.T, got, want []string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("mistakes:\n--- got\n%s\n--- want\n%s", g, w)
	}
}

func TestFiveMistakes(t *testing.T) {
	data, err := os.ReadFile("testdata/five.json")
	if err != nil {
		t.Fatal(err)
	}
	o, err := Parse(data)
	if o != nil {
		t.Error("options beside mistakes")
	}
	want := []string{
		`log.level (line 3:21): is "inof", did you mean "info"? known: debug, info, warn, error`,
		`inbounds[0].listen (line 8:17): "1.2.3" is not an IP address; write one without a port, or "all"`,
		`inbounds[0].listen_port (line 9:22): is a string, must be a port from 1 to 65535, without quotes`,
		`inbounds[0].users[0].uid (line 11:28): is not a known key, did you mean "uuid"?`,
		`inbounds[0].users[1].uuid (line 12:34): has 44 characters and is not a UUID: must be a UUID of 36 or 32 hex characters, or 1 to 30 characters of any other text`,
		`inbounds[0].handshake_timeout (line 14:28): is 10, a duration needs quotes and a unit: write "10s"`,
		`inbounds[1].type (line 16:15): "tuic" is not served by heki; served: anytls, hysteria2, shadowsocks, shadowsocksr, trojan, vless, vmess`,
		`experimental (line 18:3): makes no sense here: the Clash and V2Ray interfaces and the cache file are sing-box's; heki keeps its state in state_dir`,
	}
	compareLines(t, lines(err), want)
	for _, format := range []func(string) string{
		func(s string) string { return "\ufeff" + s },
		func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		func(s string) string { return "\ufeff" + strings.ReplaceAll(s, "\n", "\r\n") + "// no line end" },
	} {
		_, err := Parse([]byte(format(string(data))))
		compareLines(t, lines(err), want)
	}
}

func TestMistakesAsJSON(t *testing.T) {
	err := Decode("a.json", []byte("{\n  \"log\": { \"level\": 3 },\n  \"inbound\": []\n}"), new(Options))
	mistakes, ok := errors.AsType[Mistakes](err)
	if !ok {
		t.Fatalf("error is %T, want Mistakes", err)
	}
	got, err := json.Marshal(mistakes)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"file":"a.json","path":"log.level","line":2,"column":21,"message":"is a number, must be a string: write it in double quotes"},` +
		`{"file":"a.json","path":"inbound","line":3,"column":3,"message":"is not a known key, did you mean \"inbounds\"?"}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if want := "a.json: log.level (line 2:21): is a number, must be a string: write it in double quotes"; mistakes[0].Error() != want {
		t.Errorf("got  %s\nwant %s", mistakes[0], want)
	}
}

func TestMistakesOf(t *testing.T) {
	cause := errors.New("cause")
	inner := Path("a").Errorf("x: %w", cause)
	err := errors.Join(errors.Join(inner, Path("b").Errorf("y")), errors.New("plain"))
	got := MistakesOf(err)
	if len(got) != 3 || got[0].Path != "a" || got[1].Path != "b" || got[2].Path != "" {
		t.Fatalf("got %v", got)
	}
	if !errors.Is(got, cause) {
		t.Error("the cause is lost")
	}
	if MistakesOf(nil) != nil {
		t.Error("nil has mistakes")
	}
}

// The decoder's own mistakes: wrong types, ranges, durations, names.
func TestDecodeMessages(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string
	}{
		{"not an object", `[1]`, []string{`line 1:1: the file holds a list, must hold an object: { … }`}},
		{"nothing served", `{}`, []string{`line 1:1: the file serves nothing: write at least one entry in inbounds or in panels`}},
		{"nulls are not written", `{"inbounds": null, "log": null, "panels": null}`, []string{
			`line 1:1: the file serves nothing: write at least one entry in inbounds or in panels`,
		}},
		{"list for object", `{"log": [], "inbounds": {}}`, []string{
			`log (line 1:9): is a list, must be an object: { … }`,
			`inbounds (line 1:25): is an object, must be a list: [ … ]`,
		}},
		{"number for string", `{"inbounds": [{"type": "trojan", "listen_port": 1, "users": [{"password": 1234}]}]}`, []string{
			`inbounds[0].users[0].password (line 1:75): is a number, must be a string: write it in double quotes`,
		}},
		{"whole numbers", `{"inbounds": [{"type": "trojan", "listen_port": 70000, "users": [{"password": "a", "id": 1.5, "ip_limit": 1e99, "conn_limit": "3", "speed_limit_mbps": 1e999}]}]}`, []string{
			`inbounds[0].listen_port (line 1:49): is 70000, must be 1 to 65535`,
			`inbounds[0].users[0].id (line 1:90): is 1.5, must be a whole number`,
			`inbounds[0].users[0].ip_limit (line 1:107): is 1e99, must be a whole number`,
			`inbounds[0].users[0].conn_limit (line 1:127): is a string, must be a whole number, without quotes`,
			`inbounds[0].users[0].speed_limit_mbps (line 1:152): is 1e999, too large for a number`,
		}},
		{"port below zero", `{"inbounds": [{"type": "trojan", "listen_port": -1}]}`, []string{
			`inbounds[0].listen_port (line 1:49): is -1, must be 1 to 65535`,
		}},
		{"truth values", `{"log": {"disabled": "true", "timestamp": 1, "zzz": 1}}`, []string{
			`log.disabled (line 1:22): is a string, must be true or false, without quotes`,
			`log.timestamp (line 1:43): is a number, must be true or false`,
			`log.zzz (line 1:46): is not a known key; known here: dir, disabled, format, level, output, retention_days, timestamp`,
		}},
		{"durations", `{"dns": {"cache": {"ttl": "60"}}, "limits": {"ip_expiry": 1.5}, "panels": [{"type": "local", "path": "p", "timeout": "fast", "sync_interval": true}]}`, []string{
			`dns.cache.ttl (line 1:27): is "60", a duration needs a unit: write "60s"`,
			`limits.ip_expiry (line 1:59): is 1.5, must be a duration with a unit: "60s", "1m30s" or "500ms"`,
			`panels[0].timeout (line 1:118): is "fast", must be a duration such as "60s", "5m" or "2h"`,
			`panels[0].sync_interval (line 1:143): is true, must be a duration such as "60s"`,
		}},
		{"twice", "{\"log\": {\"level\": \"info\", \"level\": \"warn\"},\n \"log\": {}, \"route\": {\"final\": \"direct\", \"fin\\u0061l\": \"x\"}}", []string{
			`log.level (line 1:27): is set twice, first in line 1:10; keep one`,
			`log (line 2:2): is set twice, first in line 1:2; keep one`,
			`route.final (line 2:42): is set twice, first in line 2:23; keep one`,
		}},
		{"twice in a table", `{"inbounds": [{"type": "trojan", "listen_port": 1, "fallback_for_alpn": {"h2": {}, "h2": {}}}]}`, []string{
			`inbounds[0].fallback_for_alpn (line 1:73): needs TLS: without it no ALPN is negotiated; write fallback, or tls.enabled`,
			`inbounds[0].fallback_for_alpn.h2.server (line 1:80): is required, a host name or an IP address`,
			`inbounds[0].fallback_for_alpn.h2.server_port (line 1:80): is required, 1 to 65535`,
			`inbounds[0].fallback_for_alpn.h2 (line 1:84): is set twice, first in line 1:74; keep one`,
		}},
		{"odd names", `{"a.b[0]": 1, "": 2, "\u0000\"": 3}`, []string{
			`["a.b[0]"] (line 1:2): is not a known key; known here: $schema, admin, dns, inbounds, limits, log, outbounds, panels, route, state_dir, traffic`,
			`[""] (line 1:15): is not a known key; known here: $schema, admin, dns, inbounds, limits, log, outbounds, panels, route, state_dir, traffic`,
			`["\x00\""] (line 1:22): is not a known key; known here: $schema, admin, dns, inbounds, limits, log, outbounds, panels, route, state_dir, traffic`,
		}},
		{"entries", `{"inbounds": [1, {}, {"type": 3}, {"type": "vles"}, {"type": "tun", "tag": 1}, {"type": "anything"}], "outbounds": [{"type": "shadowsocksr"}, {"type": "block", "x": 1}]}`, []string{
			`inbounds[0] (line 1:15): is a number, must be an object: { … }`,
			`inbounds[1].type (line 1:18): is required; served: anytls, hysteria2, shadowsocks, shadowsocksr, trojan, vless, vmess`,
			`inbounds[2].type (line 1:31): is a number, must be a string: write it in double quotes`,
			`inbounds[3].type (line 1:44): "vles" is unknown, did you mean "vless"?; served: anytls, hysteria2, shadowsocks, shadowsocksr, trojan, vless, vmess`,
			`inbounds[4].type (line 1:62): "tun" is not served by heki; served: anytls, hysteria2, shadowsocks, shadowsocksr, trojan, vless, vmess`,
			`inbounds[4].tag (line 1:76): is a number, must be a string: write it in double quotes`,
			`inbounds[5].type (line 1:89): "anything" is unknown; served: anytls, hysteria2, shadowsocks, shadowsocksr, trojan, vless, vmess`,
			`outbounds[0].type (line 1:126): "shadowsocksr" is not served by this version; served: ` + strings.Join(outboundKind.served, ", "),
			`outbounds[1].x (line 1:161): is not a known key; known here: tag, type`,
		}},
		{"columns are characters", `{"日本": 1, "log": {"level": 1}}`, []string{
			`["日本"] (line 1:2): is not a known key; known here: $schema, admin, dns, inbounds, limits, log, outbounds, panels, route, state_dir, traffic`,
			`log.level (line 1:28): is a number, must be a string: write it in double quotes`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.in))
			compareLines(t, lines(err), tt.want)
		})
	}
}

func TestSyntaxMessages(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", `line 1:1: the file is empty, must hold an object: { … }`},
		{"only a comment", "// nothing\n", `line 2:1: the file is empty, must hold an object: { … }`},
		{"not closed", "{\n \"log\": {", `log (line 2:10): the file ends here, but the "{" of line 2:9 is not closed: "}" is missing`},
		{"list not closed", `{"inbounds": [`, `inbounds[0] (line 1:15): the file ends here, but the "[" of line 1:14 is not closed: "]" is missing`},
		{"one too many", `{}}`, `line 1:3: found "}" after the end of the configuration; the file holds one object`},
		{"comma missing", "{\"log\": {}\n \"dns\": {}}", `log (line 2:2): found a string, expected "," or "}": is a comma missing before it?`},
		{"two commas", `{"log": {},, "dns": {}}`, `line 1:12: found ",", expected a name in double quotes or "}": one comma too many?`},
		{"two commas in a list", `{"inbounds": [{},,]}`, `inbounds[1] (line 1:18): found ",", expected a value: one comma too many?`},
		{"colon missing", `{"log" {}}`, `log (line 1:8): found "{", expected ":" after the name "log"`},
		{"value missing", `{"log": }`, `log (line 1:9): found "}", expected a value`},
		{"wrong bracket", `{"inbounds": [{]}`, `inbounds[0] (line 1:16): found "]", expected a name in double quotes or "}"`},
		{"wrong bracket after value", `{"inbounds": [1}`, `inbounds[0] (line 1:16): found "}", but the "[" of line 1:14 is still open: expected "]"`},
		{"equals", `{"log" = {}}`, `log (line 1:8): found "=", expected ":" after the name "log"`},
		{"name without quotes", `{log: {}}`, `line 1:2: found a name without quotes, write "log"`},
		{"single quotes", `{'log': {}}`, `line 1:2: found a single quote; text stands in double quotes`},
		{"True", `{"log": {"disabled": True}}`, `log.disabled (line 1:22): found "True"; write true`},
		{"leading zero", `{"log": {"retention_days": 07}}`, `log.retention_days (line 1:28): found no valid number; a number is written like 443 or 1.5, any other text in double quotes`},
		{"text without quotes", `{"log": {"level": info}}`, `log.level (line 1:19): found text without quotes; text stands in double quotes`},
		{"a word stays secret", `{"key": 0secret}`, `key (line 1:9): found no valid number; a number is written like 443 or 1.5, any other text in double quotes`},
		{"hash comment", "# comment\n{}", `line 1:1: found "#"; a comment starts with // or /*`},
		{"comment without end", `{} /* open`, `line 1:4: the comment that starts here has no end: */ is missing`},
		{"half a comment", `{ / }`, `line 1:3: found "/"; a comment starts with // or /*`},
		{"separator in comment", "// a\u2028b\n{}", `line 1:5: the line separator U+2028 or U+2029 stands in a comment; take it out`},
		{"string over lines", "{\"log\": {\"level\": \"in\nfo\"}}", `log.level (line 1:19): the string that starts here has no closing double quote on its line (a line break inside is written \n)`},
		{"string without end", `{"log": "abc`, `log (line 1:9): the string that starts here has no closing double quote`},
		{"windows path", `{"state_dir": "C:\heki"}`, `state_dir (line 1:18): \h is no escape in a string; a backslash itself is written \\`},
		{"short escape", `{"state_dir": "\u12"}`, `state_dir (line 1:16): \u is no escape in a string; a backslash itself is written \\`},
		{"control character", "{\"state_dir\": \"a\tb\"}", `state_dir (line 1:17): the control character U+0009 stands in a string; write \u0009`},
		{"typographic quotes", `{“log”: {}}`, `line 1:2: found “ (U+201C); write the plain character "`},
		{"full-width comma", `{"log": {}，"dns": {}}`, `log (line 1:11): found ， (U+FF0C); write the plain character ,`},
		{"no-break space", "{\u00a0\"log\": {}}", `line 1:2: found the character U+00A0; write a plain space`},
		{"utf-16", "\xff\xfe{\x00}\x00", `line 1:1: the file is UTF-16; save it as UTF-8`},
		{"not utf-8", "{\"log\": \"\xe4\"}", `line 1:10: byte 0xe4 is not UTF-8 text; save the file as UTF-8`},
		{"too deep", strings.Repeat("[", 100_000), strings.Repeat("[0]", 64) + ` (line 1:65): is nested deeper than 64 levels`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.in))
			compareLines(t, lines(err), []string{tt.want})
		})
	}
}

// Whatever a file is cut to is a syntax error with a place, never a panic or half a configuration.
func TestTruncated(t *testing.T) {
	data, err := os.ReadFile("testdata/full.json")
	if err != nil {
		t.Fatal(err)
	}
	end := strings.LastIndexByte(string(data), '}')
	for i := range end {
		_, err := Parse(data[:i])
		mistakes, ok := errors.AsType[Mistakes](err)
		if !ok || len(mistakes) != 1 || mistakes[0].Line < 1 || mistakes[0].Column < 1 {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
}
