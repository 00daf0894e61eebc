package web

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"heki/option"
)

func TestHosts(t *testing.T) {
	for _, tt := range []struct {
		names []string
		host  string
		want  bool
	}{
		{nil, "anything", true},
		{[]string{""}, "anything", true},
		{[]string{"A.Example", "b.example:8443"}, "a.example", true},
		{[]string{"A.Example", "b.example:8443"}, "B.example:1", true},
		{[]string{"a.example"}, "a.example.", false},
		{[]string{"a.example"}, "", false},
		{[]string{"2001:db8::1"}, "[2001:DB8::1]:443", true},
		{[]string{"[2001:db8::1]"}, "[2001:db8::1]", true},
		{[]string{"192.0.2.1"}, "192.0.2.1:80", true},
	} {
		if got := NewHosts(tt.names).Match([]byte(tt.host)); got != tt.want {
			t.Errorf("%q, %q: %v", tt.names, tt.host, got)
		}
	}
}

func TestPath(t *testing.T) {
	for _, tt := range []struct {
		path, asked, rest string
		ok                bool
	}{
		{"", "/", "", true},
		{"a", "/a", "", true},
		{"/a?ed=2048", "/a", "", true},
		{"/a", "/ab", "b", true},
		{"/a b", "/a%20bc", "c", true},
		{"/a%20b", "/a%20b", "", true},
		{"/ü", "/%C3%BC", "", true},
		{"/a", "/b", "", false},
		{"/a", "/%zz", "", false},
		{"/a", "", "", false},
	} {
		rest, ok := NewPath(tt.path).Rest([]byte(tt.asked))
		if ok != tt.ok || string(rest) != tt.rest {
			t.Errorf("%q, %q: %q, %v", tt.path, tt.asked, rest, ok)
		}
		if NewPath(tt.path).Equal([]byte(tt.asked)) != (ok && tt.rest == "") {
			t.Errorf("%q, %q: Equal", tt.path, tt.asked)
		}
	}
}

func TestFields(t *testing.T) {
	server, fields, err := Fields(map[string]option.Listable[string]{
		"X-Two": {"1", "2"}, "Host": {"x"}, "server": {"cloudflare"}, "Upgrade": {"none"}, "A": {"b"},
	})
	want := []Field{{"A", "b"}, {"X-Two", "1"}, {"X-Two", "2"}}
	if server != "cloudflare" || !slices.Equal(fields, want) || err != nil {
		t.Errorf("%q, %q, %v", server, fields, err)
	}
	if got := Lines(fields); got != "A: b\r\nX-Two: 1\r\nX-Two: 2\r\n" {
		t.Errorf("lines = %q", got)
	}
	for name, value := range map[string]string{"a b": "x", "": "x", "A": "x\r\nB: y"} {
		if _, _, err := Fields(map[string]option.Listable[string]{name: {value}}); err == nil {
			t.Errorf("%q: %q accepted", name, value)
		}
	}
}

func TestSource(t *testing.T) {
	peer := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5}
	for _, tt := range []struct{ trusted, forwarded, real, want string }{
		{"127.0.0.0/8", "bad, 192.0.2.1, 192.0.2.2", "", "192.0.2.1:0"},
		{"127.0.0.0/8", "::ffff:192.0.2.1", "192.0.2.9", "192.0.2.1:0"},
		{"127.0.0.0/8", "", "2001:db8::1", "[2001:db8::1]:0"},
		{"127.0.0.0/8", "unknown", "", "invalid AddrPort"},
		{"127.0.0.0/8", "", "", "invalid AddrPort"},
		{"192.0.2.0/24", "192.0.2.1", "", "invalid AddrPort"},
	} {
		trusted := []netip.Prefix{netip.MustParsePrefix(tt.trusted)}
		if got := Source(trusted, peer, []byte(tt.forwarded), []byte(tt.real)).String(); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

// An encoded path asks for what the path is.
func TestEncoded(t *testing.T) {
	for _, path := range []string{"/", "/a b", "/ü", "/a%20b", "/a#b", "/\"<>"} {
		encoded := NewPath(path).Encoded()
		if !NewPath(path).Equal([]byte(encoded)) {
			t.Errorf("%q: %q", path, encoded)
		}
	}
}
