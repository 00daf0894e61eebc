package phpjson

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	jsoniter "github.com/json-iterator/go"
)

func TestInt(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int64
		err  string
	}{
		{`443`, 443, ""},
		{`"443"`, 443, ""},
		{`" 443 "`, 443, ""},
		{`443.0`, 443, ""},
		{`"4e2"`, 400, ""},
		{`null`, 0, ""},
		{`""`, 0, ""},
		{`true`, 1, ""},
		{`false`, 0, ""},
		{`-7`, -7, ""},
		{`9007199254740993`, 9007199254740993, ""},
		{`12.5`, 0, "whole number"},
		{`"x"`, 0, "must be a number"},
		{`"NaN"`, 0, "must be a number"},
		{`1e300`, 0, "whole number"},
		{`[]`, 0, "is a list"},
		{`{}`, 0, "is an object"},
		{``, 0, "ends early"},
		{`?`, 0, "not JSON"},
		{`1 2`, 1, "more follows"},
		{"\xef\xbb\xbf5", 5, ""},
	} {
		t.Run(tt.in, func(t *testing.T) {
			var got int64
			err := Decode([]byte(tt.in), func(it *jsoniter.Iterator) { got = Int(it) })
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("err = %v, want %q", err, tt.err)
			}
			if got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestTexts(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{`["a","b"]`, []string{"a", "b"}},
		{`{"0":"a","2":"b"}`, []string{"a", "b"}},
		{`"a,b\nc"`, []string{"a", "b", "c"}},
		{`null`, nil},
		{`[]`, nil},
		{`[25,"1000-2000"]`, []string{"25", "1000-2000"}},
		{`7`, []string{"7"}},
	} {
		var got []string
		if err := Decode([]byte(tt.in), func(it *jsoniter.Iterator) { got = Texts(it) }); err != nil {
			t.Fatalf("%s: %v", tt.in, err)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestObject(t *testing.T) {
	for _, tt := range []struct {
		in  string
		ok  bool
		err bool
	}{
		{`{"a":1}`, true, false},
		{`{}`, false, false},
		{`[]`, false, false},
		{`null`, false, false},
		{`[1]`, false, true},
		{`"x"`, false, true},
		{`3`, false, true},
	} {
		var ok bool
		err := Decode([]byte(tt.in), func(it *jsoniter.Iterator) {
			ok = Object(it, func(string) bool { it.Skip(); return true })
		})
		if ok != tt.ok || (err != nil) != tt.err {
			t.Errorf("%s: got %v, %v", tt.in, ok, err)
		}
	}
}

// Errors must not carry what a body says: it may be a credential.
func TestErrorsQuoteNothing(t *testing.T) {
	const secret = "b831381d-6324-4d53-ad4f-8cda48b30811"
	for _, in := range []string{`{"uuid":"` + secret + `"`, `{"uuid":"` + secret + `" x}`, secret, `{"uuid" "` + secret + `"}`} {
		err := Decode([]byte(in), func(it *jsoniter.Iterator) {
			Object(it, func(string) bool { Text(it); return true })
		})
		if err == nil || strings.Contains(err.Error(), secret[:8]) {
			t.Errorf("%s: err = %v", in, err)
		}
	}
}

// FuzzDecode: whole numbers and lists of texts that encoding/json reads are read alike, and no input
// or prefix of it panics.
func FuzzDecode(f *testing.F) {
	f.Add(`{"a":[1,"2",null,{"b":[]}],"c":12.5}`)
	f.Add(`["a","b"]`)
	f.Add(`-12`)
	f.Fuzz(func(t *testing.T, in string) {
		var n, wantN int64
		err := Decode([]byte(in), func(it *jsoniter.Iterator) { n = Int(it) })
		if json.Unmarshal([]byte(in), &wantN) == nil && (err != nil || n != wantN) {
			t.Errorf("%q: got %d, %v, want %d", in, n, err, wantN)
		}
		var texts, want []string
		err = Decode([]byte(in), func(it *jsoniter.Iterator) { texts = Texts(it) })
		if utf8.ValidString(in) && !strings.Contains(in, `\u`) && json.Unmarshal([]byte(in), &want) == nil && (err != nil || !slices.Equal(texts, want)) {
			t.Errorf("%q: got %q, %v, want %q", in, texts, err, want)
		}
		for i := range min(len(in), 64) {
			_ = Decode([]byte(in[:i]), func(it *jsoniter.Iterator) {
				Object(it, func(string) bool { Float(it); return true })
			})
		}
	})
}

// TestLines: a text is taken apart at line ends alone, and a name stands before a mistake once.
func TestLines(t *testing.T) {
	for _, in := range []string{`"a=1,2\n b \n\n"`, `["a=1,2","b"]`, `{"0":"a=1,2","4":"b"}`} {
		var got []string
		err := Decode([]byte(in), func(it *jsoniter.Iterator) { got = Lines(it) })
		if want := []string{"a=1,2", "b"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
	err := Decode([]byte(`"x"`), func(it *jsoniter.Iterator) { Named(it, "port", Int) })
	if err == nil || err.Error() != `port is "x", must be a number` {
		t.Errorf("err = %v", err)
	}
}
