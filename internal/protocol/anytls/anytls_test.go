package anytls

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func TestParseAuth(t *testing.T) {
	key := KeyOf("password")
	// protocols.md Appendix B
	if got := hex.EncodeToString(key[:]); got != "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8" {
		t.Errorf("key = %s", got)
	}
	in := AppendAuth(nil, Auth{key, 30})
	a, n, err := ParseAuth(in)
	if err != nil || a.Key != key || a.Padding != 30 || n != authSize || len(in) != authSize+30 {
		t.Errorf("got %+v, %d of %d, %v", a, n, len(in), err)
	}
	for i := range n { // every prefix asks for more, none panics
		if _, _, err := ParseAuth(in[:i]); !errors.Is(err, ErrShort) {
			t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
		}
	}
}

func TestParseFrame(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Frame
	}{
		{"\x02\x00\x00\x00\x07\xff\xff", Frame{CommandPSH, 7, 65535}},
		{"\x01\xff\xff\xff\xff\x00\x00", Frame{CommandSYN, 1<<32 - 1, 0}},
		{"\xfe\x00\x00\x00\x00\x00\x01", Frame{254, 0, 1}}, // unknown, still a frame
	} {
		f, n, err := ParseFrame([]byte(tt.in + "data"))
		if err != nil || f != tt.want || n != len(tt.in) || string(AppendFrame(nil, f)) != tt.in {
			t.Errorf("%q: %+v, %d, %v", tt.in, f, n, err)
		}
		for i := range n {
			if _, _, err := ParseFrame([]byte(tt.in[:i])); !errors.Is(err, ErrShort) {
				t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
			}
		}
	}
}

func TestParseSettings(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Settings
	}{
		{"v=2\nclient=sing-anytls/0.0.11\npadding-md5=ab", Settings{2, "sing-anytls/0.0.11", "ab"}},
		{"padding-md5=ab\nv=2", Settings{2, "", "ab"}},
		{"v=1", Settings{1, "", ""}},
		{"", Settings{1, "", ""}},
		{"v=\n=\nx\nclient=a=b", Settings{1, "a=b", ""}},
		{"v=-3", Settings{1, "", ""}},
		{"v=99999", Settings{1, "", ""}},
	} {
		if got := ParseSettings([]byte(tt.in)); got != tt.want {
			t.Errorf("%q: %+v, want %+v", tt.in, got, tt.want)
		}
	}
}

func TestScheme(t *testing.T) {
	d := DefaultScheme()
	if d.MD5() != "75cff2ad89aadf5e257059ee571ebe11" { // protocols.md §8
		t.Errorf("md5 of the default = %s", d.MD5())
	}
	if s, err := ParseScheme(DefaultPadding); err != nil || *s != *d {
		t.Errorf("%+v, %v", s, err)
	}
	for in, want := range map[string]string{
		"":                  "key=value",
		"0=30-30":           "no stop",
		"stop=":             "stop=",
		"stop=0":            "1 to",
		"stop=99999":        "1 to",
		"stop=2\nstop=2":    "twice",
		"stop=2\n":          "key=value",
		"stop=2\nx=1-1":     "number of a packet",
		"stop=2\n1=":        "FROM-TO",
		"stop=2\n1=5":       "FROM-TO",
		"stop=2\n1=9-5":     "FROM-TO",
		"stop=2\n1=0-5":     "FROM-TO",
		"stop=2\n1=1-99999": "FROM-TO",
		"stop=2\n1=5-5,d":   "FROM-TO",
		"stop=2\n" + strings.Repeat("x", maxScheme): "bytes long",
	} {
		if _, err := ParseScheme(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want %q", in, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(DefaultPadding))
	f.Add([]byte("v=2\nclient=a\npadding-md5=b"))
	f.Add([]byte("\x02\x00\x00\x00\x07\x00\x05hello"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if s, err := ParseScheme(string(in)); err == nil && s.Text() != string(in) {
			t.Error("the scheme is not what was given")
		}
		s := ParseSettings(in)
		if s.Version < 1 || ParseSettings(AppendSettings(nil, s)) != s {
			t.Errorf("%+v does not come back", s)
		}
		if h, n, err := ParseFrame(in); err == nil && !bytes.Equal(AppendFrame(nil, h), in[:n]) {
			t.Errorf("%+v does not come back", h)
		}
		if a, n, err := ParseAuth(in); err == nil && !bytes.Equal(AppendAuth(nil, a)[:n], in[:n]) {
			t.Error("the key does not come back")
		}
	})
}
