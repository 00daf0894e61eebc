package address

import (
	"errors"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/wire"
)

func TestParseText(t *testing.T) {
	for in, want := range map[string]string{
		"1.2.3.4:80":                        "1.2.3.4:80",
		"[2001:db8::1]:443":                 "[2001:db8::1]:443",
		"[::ffff:1.2.3.4]:53":               "1.2.3.4:53",
		"a.io:0":                            "a.io:0",
		strings.Repeat("a", 255) + ":65535": strings.Repeat("a", 255) + ":65535",
		"":                                  "",
		"a.io":                              "",
		":80":                               "",
		"a.io:":                             "",
		"a.io:65536":                        "",
		"a.io:-1":                           "",
		"a b:80":                            "",
		"[::1%lo]:80":                       "",
		strings.Repeat("a", 256) + ":1":     "",
	} {
		got, err := ParseText([]byte(in), "")
		if want == "" {
			if !errors.Is(err, wire.ErrBadRequest) {
				t.Errorf("%.40q: %v, %v, want ErrBadRequest", in, got, err)
			}
			continue
		}
		if err != nil || got.String() != want || string(AppendText(nil, got)) != want {
			t.Errorf("%.40q: %v, %v", in, got, err)
		}
	}
	if got := string(AppendText(nil, M.Socksaddr{Port: 1})); got != "0.0.0.0:1" {
		t.Errorf("nothing is %q", got)
	}
}

func FuzzParseText(f *testing.F) {
	f.Add([]byte("[::1]:53"))
	f.Add([]byte("a.io:443"))
	f.Fuzz(func(t *testing.T, in []byte) {
		addr, err := ParseText(in, "")
		if err != nil {
			return
		}
		out := AppendText(nil, addr)
		again, err := ParseText(out, addr.Fqdn)
		if err != nil || again != addr || len(out) > MaxText {
			t.Errorf("%q: %v came back as %v, %v", in, addr, again, err)
		}
	})
}
