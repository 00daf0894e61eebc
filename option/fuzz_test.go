package option

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tailscale/hujson"
)

// Whatever a file holds: no panic, and every mistake has a place that exists. What is taken is
// complete: a second Validate finds nothing.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"testdata/full.json", "testdata/five.json"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, seed := range []string{
		`{"a\u0000.b[": 1, "": [], "log": {"level": {}, "level": 1}}`,
		`{"inbounds": [{"type": "vless", "type": 1, "users": [null, 1, {"uuid": "x", "uuid": 2}], "tls": {"alpn": {}}}]}`,
		`{"panels": [{"type": "xboard", "nodes": [{"id": -1e5, "fallback_for_alpn": {"]": {}}}], "node_defaults": []}]}`,
		`{"outbounds": [{"type": "direct", "routing_mark": "0xffffffffff", "bind": "\n"}], "dns": {"final": "x"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		text := bytes.Clone(in)
		o, err := Parse(in)
		if !bytes.Equal(in, text) {
			t.Fatal("Parse changed its input")
		}
		if err == nil {
			if err := o.Validate(""); err != nil {
				t.Fatalf("validated again: %v", err)
			}
			return
		}
		mistakes, ok := errors.AsType[Mistakes](err)
		if !ok || len(mistakes) == 0 {
			t.Fatalf("error is %T: %v", err, err)
		}
		last := 0
		for _, m := range mistakes {
			if _, err := m.Path.steps(); err != nil {
				t.Errorf("%v: %v", m, err)
			}
			if m.Line < 1 || m.Column < 1 || m.Line > 1+bytes.Count(in, []byte("\n")) {
				t.Errorf("%v: no such place", m)
			}
			if m.offset < last {
				t.Errorf("%v: out of order", m)
			}
			last = m.offset
			if text := m.Text.Error(); text == "" || !utf8.ValidString(text) || strings.ContainsAny(text, "\n\r\x00") {
				t.Errorf("%q: not one line of text", text)
			}
		}
	})
}

// The scanner takes what hujson takes, no more and no less, but for its depth and foreign encodings.
func FuzzSyntax(f *testing.F) {
	for _, seed := range []string{
		`{"a": [1, -2.5e3, true, false, null, "x\u00e9\\", ], /* c */ "b": {}, } // end`, "[01]", `{"a" 1}`, "//\u2028\n1", `"\x"`, `[,]`, `{,}`, `[}`, `+1`, `"`, `/`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if !utf8.Valid(in) || bytes.Count(in, []byte("["))+bytes.Count(in, []byte("{")) > maxDepth {
			return
		}
		m := checkSyntax(newSource("", 0, in))
		_, err := hujson.Parse(append(bytes.Clone(in), '\n'))
		if (m == nil) != (err == nil) {
			t.Fatalf("scanner: %v\nhujson: %v", m, err)
		}
	})
}

func FuzzPath(f *testing.F) {
	f.Add("a", "b.c", 3)
	f.Add("", "]\"[", 0)
	f.Fuzz(func(t *testing.T, a, b string, i int) {
		if i < 0 {
			return
		}
		steps, err := Path("").Key(a).Index(i).Key(b).steps()
		if err != nil {
			t.Fatal(err)
		}
		if len(steps) != 3 || steps[0].name != a || steps[1].index != i || steps[2].name != b {
			t.Errorf("got %+v", steps)
		}
	})
}

// manyUsers is a configuration of n VLESS users.
func manyUsers(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"inbounds": [{"type": "vless", "listen_port": 443, "users": [` + "\n")
	for i := range n {
		fmt.Fprintf(&b, `  {"id": %d, "name": "user%d", "uuid": "b831381d-6324-4d53-ad4f-%012x", "speed_limit_mbps": 100, "ip_limit": 3},`+"\n", i+1, i, i)
	}
	b.WriteString(`]}]}`)
	return b.Bytes()
}

func BenchmarkParse(b *testing.B) {
	in := manyUsers(10_000)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}

// Every user wrong: the price of a place for each mistake.
func BenchmarkParseMistakes(b *testing.B) {
	in := bytes.ReplaceAll(manyUsers(10_000), []byte(`"ip_limit": 3`), []byte(`"ip_limits": -1, "id": 1`))
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if got := MistakesOf(parseError(in)); len(got) != 20_000 {
			b.Fatalf("%d mistakes", len(got))
		}
	}
}

func parseError(in []byte) error {
	_, err := Parse(in)
	return err
}
