package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"heki/internal/netio"
)

func TestRequest(t *testing.T) {
	const host = "\r\nHost: a\r\n"
	for _, tt := range []struct {
		name, in, want string // method path query host minor keep-alive body
		status         int
	}{
		{"plain", "GET /a?b=c HTTP/1.1" + host + "\r\n", "GET /a b=c a 1 true 0", 0},
		{"bare LF", "GET / HTTP/1.1\nHost: a\n\n", "GET /  a 1 true 0", 0},
		{"empty lines first", "\r\n\nGET / HTTP/1.1" + host + "\r\n", "GET /  a 1 true 0", 0},
		{"1.0", "GET / HTTP/1.0\r\n\r\n", "GET /   0 false 0", 0},
		{"1.0 kept alive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET /   0 true 0", 0},
		{"close", "GET / HTTP/1.1" + host + "connection: x, CLOSE\r\n\r\n", "GET /  a 1 false 0", 0},
		{"absolute", "GET http://b:1?x HTTP/1.1" + host + "\r\n", "GET / x b:1 1 true 0", 0},
		{"fragment", "GET /a#b?c HTTP/1.1" + host + "\r\n", "GET /a  a 1 true 0", 0},
		{"body", "POST / HTTP/1.1" + host + "Content-Length: 12\r\n\r\n", "POST /  a 1 true 12", 0},
		{"chunked", "POST / HTTP/1.1" + host + "Transfer-Encoding: Chunked\r\n\r\n", "POST /  a 1 true -1", 0},
		{"line without a colon", "GET / HTTP/1.1" + host + "no-colon\r\n\r\n", "GET /  a 1 true 0", 0},
		{"folded line", "GET / HTTP/1.1" + host + " x: y\r\n\r\n", "", 400},
		{"blank in a name", "GET / HTTP/1.1" + host + "x : y\r\n\r\n", "", 400},
		{"no name", "GET / HTTP/1.1" + host + ": y\r\n\r\n", "", 400},
		{"lower case method", "get / HTTP/1.1" + host + "\r\n", "", 400},
		{"clienthello", "\x16\x03\x01\x02\x00\r\n\r\n", "", 400},
		{"long method", strings.Repeat("A", 64) + " / HTTP/1.1" + host + "\r\n", strings.Repeat("A", 64) + " /  a 1 true 0", 0},
		{"endless method", strings.Repeat("A", MaxHead), "", 414},
		{"HTTP/0.9", "GET /\r\n", "", 404},
		{"HTTP/0.9, another method", "POST / \n", "", 400},
		{"HTTP/0.9 without a target", "GET\r\n\r\n", "", 400},
		{"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\n", "", 400},
		{"version 2", "GET / HTTP/2.0\r\n\r\n", "", 505},
		{"version 10", "GET / HTTP/10.1\r\n\r\n", "", 505},
		{"version 1.999", "GET / HTTP/1.999" + host + "\r\n", "GET /  a 999 true 0", 0},
		{"version 1.1000", "GET / HTTP/1.1000" + host + "\r\n", "", 400},
		{"absolute, port", "GET http://b:1x/ HTTP/1.1" + host + "\r\n", "", 400},
		{"absolute, user", "GET http://c@b/ HTTP/1.1" + host + "\r\n", "", 400},
		{"absolute, IPv6", "GET http://[::1]/ HTTP/1.1" + host + "\r\n", "GET /  [::1] 1 true 0", 0},
		{"version 0", "GET / HTTP/0.9" + host + "\r\n", "", 400},
		{"version x", "GET / HTTP/1.x" + host + "\r\n", "", 400},
		{"blank in the target", "GET /a b HTTP/1.1" + host + "\r\n", "", 400},
		{"star", "OPTIONS * HTTP/1.1" + host + "\r\n", "", 400},
		{"connect", "CONNECT a:1 HTTP/1.1" + host + "\r\n", "", 400},
		{"connect to a path", "CONNECT / HTTP/1.1" + host + "\r\n", "", 405},
		{"trace", "TRACE / HTTP/1.1" + host + "\r\n", "", 405},
		{"no host", "GET / HTTP/1.1\r\n\r\n", "", 400},
		{"two hosts", "GET / HTTP/1.1" + host + "Host: b\r\n\r\n", "", 400},
		{"bad host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "", 400},
		{"NUL", "GET / HTTP/1.1" + host + "X: \x00\r\n\r\n", "", 400},
		{"bare CR", "GET / HTTP/1.1" + host + "X: a\rb\r\n\r\n", "", 400},
		{"two lengths", "GET / HTTP/1.1" + host + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", "", 400},
		{"negative length", "GET / HTTP/1.1" + host + "Content-Length: -1\r\n\r\n", "", 400},
		{"signed length", "GET / HTTP/1.1" + host + "Content-Length: +1\r\n\r\n", "", 400},
		{"empty length", "GET / HTTP/1.1" + host + "Content-Length:\r\n\r\n", "", 400},
		{"two ways", "GET / HTTP/1.1" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "", 400},
		{"gzip", "GET / HTTP/1.1" + host + "Transfer-Encoding: gzip\r\n\r\n", "", 501},
		{"long line", "GET /" + strings.Repeat("x", MaxHead), "", 414},
		{"long head", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", MaxHead), "", 494},
		{"long and whole", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", MaxHead) + "\r\n\r\n", "", 494},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse([]byte(tt.in))
			var refused *StatusError
			if errors.As(err, &refused) != (tt.status != 0) || refused != nil && refused.Status != tt.status {
				t.Fatalf("err = %v, want %d", err, tt.status)
			}
			if err != nil {
				return
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			for i := range len(tt.in) {
				for _, seen := range []int{0, i / 2, max(0, i-1)} {
					if _, err := Scan([]byte(tt.in[:i]), seen); !errors.Is(err, ErrShort) {
						t.Fatalf("prefix of %d bytes: %v", i, err)
					}
				}
			}
		})
	}
}

func parse(in []byte) (string, error) {
	n, err := Scan(in, 0)
	if err != nil {
		return "", err
	}
	r, err := Parse(in[:n])
	return fmt.Sprintf("%s %s %s %s %d %v %d", r.Method, r.Path, r.Query, r.Host, r.Minor, r.KeepAlive, r.Body), err
}

// Where both accept a request, net/http reads the same out of it.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("GET /a?b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
	f.Add([]byte("POST http://x/ HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"))
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := Scan(in, 0)
		if err != nil {
			return
		}
		if m, err := Scan(in[:n], n-1); m != n || err != nil {
			t.Fatalf("scan again: %d, %v, want %d", m, err, n)
		}
		r, err := Parse(in[:n])
		if err != nil {
			return
		}
		theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(in[emptyLines(in):n])))
		if err != nil {
			return
		}
		if theirs.Method != string(r.Method) || theirs.ProtoMinor != r.Minor ||
			r.Body >= 0 && theirs.ContentLength != r.Body {
			t.Errorf("%q:\n got %q %d %d\nwant %q %d %d", in[:n], r.Method, r.Minor, r.Body,
				theirs.Method, theirs.ProtoMinor, theirs.ContentLength)
		}
		if theirs.Header.Get("Upgrade") != "" && len(theirs.Header["Upgrade"]) == 1 {
			if v, _ := r.Get("upgrade"); string(v) != theirs.Header.Get("Upgrade") {
				t.Errorf("%q: upgrade %q, want %q", in[:n], v, theirs.Header.Get("Upgrade"))
			}
		}
	})
}

func TestPages(t *testing.T) {
	for _, tt := range []struct {
		page Page
		want string
		code int
	}{
		{Page{Status: 494}, "<title>400 Request Header Or Cookie Too Large</title>", 400},
		{Page{Status: 497, Padding: true}, "<center>The plain HTTP request was sent to HTTPS port</center>", 400},
		{Page{Status: 405, KeepAlive: true}, "<h1>405 Not Allowed</h1>", 405},
		{Page{Status: 505}, "<h1>505 HTTP Version Not Supported</h1>", 505},
	} {
		tt.page.Now = time.Unix(0, 0)
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(tt.page.Append(nil))), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != tt.code || resp.Close == tt.page.KeepAlive || !strings.Contains(string(body), tt.want) {
			t.Errorf("%+v: %v %v %q", tt.page, resp.Status, err, body)
		}
		if strings.Contains(string(body), "padding to disable") != tt.page.Padding {
			t.Errorf("%+v: padding", tt.page)
		}
		if got := resp.Header.Get("Date"); got != "Thu, 01 Jan 1970 00:00:00 GMT" {
			t.Errorf("date = %s", got)
		}
	}
}

// What nginx 1.22 answers with 400 is false.
func TestStaysInside(t *testing.T) {
	for path, want := range map[string]bool{
		"/": true, "/a/..": true, "/a/./..": true, "/%252e%252e/..": true, "/...": true, "/a%2fb": true,
		"/..": false, "/../x": false, "/a/../../x": false, "/%2e%2E/x": false, "/a//../..": false,
		"/%3f/../..": false, "/a%2f..%2f../": false, "/%zz": false, "/a%": false, "/%2": false, "/%00": false,
	} {
		if StaysInside([]byte(path)) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}

func TestPaddedFor(t *testing.T) {
	for agent, want := range map[string]bool{
		"": false, "curl/8": false, "Mozilla/5.0 (like Gecko) Chrome/120": true, "Gecko/1 Chrome/1": false,
		"Mozilla/4.0 (MSIE 6.0)": true, "MSIE 6": false, "MSIE 6.0 Opera": false, "Opera Chrome/1": false,
	} {
		if PaddedFor([]byte(agent)) != want {
			t.Errorf("%q: %v", agent, !want)
		}
	}
}

func TestReadDropByDrop(t *testing.T) {
	a, b := net.Pipe()
	in := "GET /x HTTP/1.1\r\nHost: a\r\nUser-Agent: Chrome/1\r\n\r\n"
	go func() {
		for i := range len(in) {
			_, _ = a.Write([]byte(in[i : i+1]))
		}
		_, _ = a.Write([]byte("rest"))
		_ = a.Close()
	}()
	c := netio.NewConn(b)
	r, n, err := Read(c)
	if err != nil || n != len(in) || string(r.Path) != "/x" || !Padded(&r) {
		t.Fatalf("%q, %d, %v", r.Path, n, err)
	}
	_, _ = c.Discard(n)
	if rest, err := io.ReadAll(c); string(rest) != "rest" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	_ = b.Close()
}
