package option

import (
	"strings"
	"testing"
)

func TestRealityDefaults(t *testing.T) {
	for _, tt := range []struct{ name, tls, names string }{
		{"server_name", `"server_name": "A.example", `, "a.example"},
		{"target", ``, "b.example"},
	} {
		o, err := Parse([]byte(inboundWith(`"tls": {"enabled": true, ` + tt.tls +
			`"reality": {"enabled": true, "handshake": {"server": "b.example"}, "private_key": "` + realityKey + `"}}`)))
		if err != nil {
			t.Fatal(err)
		}
		r := o.Inbounds[0].Options.(*Trojan).TLS.Reality
		if got := strings.Join(r.ServerNames, " "); got != tt.names || r.Handshake.ServerPort != 443 {
			t.Errorf("%s: names %q, port %d", tt.name, got, r.Handshake.ServerPort)
		}
	}
}

// Panels store keys in both alphabets.
func TestRealityKey(t *testing.T) {
	for _, text := range []string{realityKey, realityKey + "=", strings.ReplaceAll(realityKey, "-", "+")} {
		key, err := (&Reality{PrivateKey: text}).Key()
		if err != nil || len(key.Bytes()) != RealityKeySize {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"", "x", realityKey[1:], realityKey + "A", "é" + realityKey[2:]} {
		if _, err := (&Reality{PrivateKey: text}).Key(); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestParseShortID(t *testing.T) {
	if id, err := ParseShortID("01fF"); err != nil || id != [8]byte{1, 0xff} {
		t.Errorf("%x, %v", id, err)
	}
	if id, err := ParseShortID(""); err != nil || id != [8]byte{} {
		t.Errorf("%x, %v", id, err)
	}
}

func TestParseClientVersion(t *testing.T) {
	for in, want := range map[string][3]byte{"": {}, "1": {1}, "1.8": {1, 8}, "25.3.255": {25, 3, 255}} {
		if v, err := ParseClientVersion(in); err != nil || v != want {
			t.Errorf("%q: %v, %v", in, v, err)
		}
	}
	for _, in := range []string{"1.2.3.4", "x", "1.", "-1", "256"} {
		if _, err := ParseClientVersion(in); err == nil {
			t.Errorf("%q is accepted", in)
		}
	}
}
