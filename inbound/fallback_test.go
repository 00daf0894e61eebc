package inbound

import (
	"strings"
	"testing"

	"heki/option"
)

func TestRequestPath(t *testing.T) {
	for _, tt := range []struct{ name, in, path string }{
		{"root", "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "/"},
		{"deep", "POST /a/b HTTP/1.1\r\n", "/a/b"},
		{"query", "GET /ws?ed=2048 HTTP/1.1\r\n", "/ws"},
		{"a question only", "GET /? HTTP/1.1\r\n", "/"},
		{"as sent", "GET //a/%2e/../b HTTP/1.0\r\n", "//a/%2e/../b"},
		{"a method of WebDAV", "VERSION-CONTROL /a HTTP/1.1\r\n", "/a"},
		{"HTTP/0.9", "GET /a\r\n", "/a"},
		{"a bare line feed", "GET /a\n", "/a"},
		{"longest method", strings.Repeat("A", maxMethod) + " /a ", "/a"},
		{"no method", strings.Repeat("A", maxMethod+1) + " /a ", ""},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""},
		{"a proxy's request", "GET http://a.example/ HTTP/1.1\r\n", ""},
		{"CONNECT", "CONNECT a.example:443 HTTP/1.1\r\n", ""},
		{"small letters", "get / HTTP/1.1\r\n", ""},
		{"two blanks", "GET  / HTTP/1.1\r\n", ""},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc", ""},
		{"blank", " / HTTP/1.1\r\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if path, more := requestPath([]byte(tt.in)); path != tt.path || more {
				t.Fatalf("path %q, more %t; want %q", path, more, tt.path)
			}
			decided := false
			for i := range len(tt.in) + 1 { // what a prefix says, all of it says
				switch path, more := requestPath([]byte(tt.in[:i])); {
				case decided && more:
					t.Fatalf("%d bytes want more, after fewer did not", i)
				case more && path != "", !more && path != tt.path:
					t.Fatalf("%d bytes: path %q, more %t", i, path, more)
				case !more:
					decided = true
				}
			}
		})
	}
}

func TestServerFor(t *testing.T) {
	servers := map[string]option.Server{"/ws": {ServerPort: 1}, "/blog/": {ServerPort: 2}, "/blog/admin/": {ServerPort: 3}, "/blog/feed": {ServerPort: 4}}
	for path, want := range map[string]uint16{
		"": 0, "/": 0, "/w": 0, "/ws": 1, "/ws/": 0, "/wss": 0, "/WS": 0,
		"/blog": 0, "/blog/": 2, "/blog/x": 2, "/blog/admin": 2, "/blog/admin/": 3, "/blog/admin/x/y": 3, "/blog/feed": 4, "/blog/feeds": 2,
	} {
		if server, ok := serverFor(servers, path); server.ServerPort != want || ok != (want > 0) {
			t.Errorf("%q: server %d, %t; want %d", path, server.ServerPort, ok, want)
		}
	}
	if server, _ := serverFor(map[string]option.Server{"/": {ServerPort: 5}}, "/x"); server.ServerPort != 5 {
		t.Errorf("the root folder has %d, want 5", server.ServerPort)
	}
}

func FuzzRequestPath(f *testing.F) {
	f.Add([]byte("GET /a/b?c HTTP/1.1\r\n\r\n"))
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\n"))
	f.Add([]byte("GET /"))
	f.Fuzz(func(t *testing.T, in []byte) {
		path, more := requestPath(in)
		if more && path != "" || path != "" && (path[0] != '/' || strings.ContainsAny(path, "? \r\n")) {
			t.Fatalf("path %q, more %t", path, more)
		}
		if later, _ := requestPath(append(in, " HTTP/1.1\r\n"...)); !more && later != path {
			t.Errorf("path %q becomes %q", path, later)
		}
	})
}
