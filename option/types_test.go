package option

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseUUID(t *testing.T) {
	id := [16]byte{0xb8, 0x31, 0x38, 0x1d, 0x63, 0x24, 0x4d, 0x53, 0xad, 0x4f, 0x8c, 0xda, 0x48, 0xb3, 0x08, 0x11}
	for _, text := range []string{
		"b831381d-6324-4d53-ad4f-8cda48b30811", "B831381D63244D53AD4F8CDA48B30811",
		"{b831381d-6324-4d53-ad4f-8cda48b30811}", "urn:uuid:b831381d-6324-4d53-ad4f-8cda48b30811",
	} {
		if got, err := ParseUUID(text); err != nil || got != id {
			t.Errorf("%s: got %x, %v", text, got, err)
		}
	}
	// Vector: Xray common/uuid/uuid_test.go, "example" as a mapped id.
	want := [16]byte{0xfe, 0xb5, 0x44, 0x31, 0x30, 0x1b, 0x52, 0xbb, 0xa6, 0xdd, 0xe1, 0xe9, 0x3e, 0x81, 0xbb, 0x9e}
	if got, err := ParseUUID("example"); err != nil || got != want {
		t.Errorf("example: got %x, %v, want %x", got, err, want)
	}
	for _, text := range []string{"", strings.Repeat("a", 31), "b831381d-6324-4d53-ad4f-8cda48b3081g", strings.Repeat("é", 16)} {
		if _, err := ParseUUID(text); !errors.Is(err, ErrBadUUID) || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %v", text, err)
		}
	}
	if _, err := ParseUUID(strings.Repeat("a", 30)); err != nil {
		t.Error(err)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"60s": time.Minute, "1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "-1s": -time.Second, "0": 0, "106751d": 106751 * 24 * time.Hour,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "60", "1.5", "s", "1x", "d", "-1d", "1d-1h", "1d1d", "106752d", "106751d24h", "99999999999999h", "NaN", "1e3"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", time.Minute: "1m", time.Hour: "1h", 90 * time.Minute: "1h30m", 61 * time.Minute: "1h1m", 20 * time.Minute: "20m",
		10 * time.Second: "10s", 10 * time.Hour: "10h", time.Hour + time.Second: "1h0m1s", -time.Second: "-1s", math.MinInt64: "-2562047h47m16.854775808s",
	} {
		got := Duration(d).String()
		if got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
		if back, err := parseDuration(got); err != nil || back != d {
			t.Errorf("%s: read back as %v, %v", got, back, err)
		}
	}
}

func TestJSONForms(t *testing.T) {
	type all struct {
		D Duration         `json:"d"`
		L Listable[string] `json:"l"`
	}
	for in, want := range map[string]all{
		`{"d":"1m","l":"a"}`:          {Duration(time.Minute), Listable[string]{"a"}},
		`{"d":"1h30m","l":["a","b"]}`: {Duration(90 * time.Minute), Listable[string]{"a", "b"}},
	} {
		var got all
		if err := json.Unmarshal([]byte(in), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", in, got, err)
		}
		if out, err := json.Marshal(want); err != nil || string(out) != in {
			t.Errorf("got %s, %v, want %s", out, err, in)
		}
	}
	for _, in := range []string{`{"d":60}`, `{"d":"60"}`, `{"l":1}`, `{"l":[1]}`} {
		if err := json.Unmarshal([]byte(in), new(all)); err == nil {
			t.Errorf("%s is taken", in)
		}
	}
}

func TestPath(t *testing.T) {
	for _, tt := range []struct {
		path Path
		want string
	}{
		{Path("").Key("a").Index(1).Key("b"), "a[1].b"},
		{Path("").Key("a.b").Index(0), `["a.b"][0]`},
		{Path("a").Key("]").Key("c"), `a["]"].c`},
		{Path("a").Key(""), `a[""]`},
		{Path("").Key("$schema"), "$schema"},
	} {
		if string(tt.path) != tt.want {
			t.Errorf("got %s, want %s", tt.path, tt.want)
		}
		if _, err := tt.path.steps(); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []Path{"a.", ".a", "a..b", "a[", "a[x]", "a[-1]", `a["b"`, `a["b]`, "a b", "a[1]b", "a]"} {
		if steps, err := bad.steps(); err == nil {
			t.Errorf("%q is taken as %v", bad, steps)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"certificate", "certificate_path", "id", "key", "key_path", "listen", "listen_port", "server_name", "tls", "uuid"}
	for name, want := range map[string]string{
		"uid": "uuid", "UUID": "uuid", "listenPort": "listen_port", "port": "listen_port", "lsiten": "listen", "sever_name": "server_name",
		"cert_path": "certificate_path", "zzz": "", "x": "", "": "", "___": "", strings.Repeat("a", 1000): "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
