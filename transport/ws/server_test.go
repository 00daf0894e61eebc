package ws

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"heki/option"
	"heki/transport/internal/http1"
	"heki/transport/internal/transporttest"
)

func TestUpgrade(t *testing.T) {
	early := []byte("first bytes \xff\xfe\xfd")
	raw, std := base64.RawURLEncoding.EncodeToString(early), base64.StdEncoding.EncodeToString(early)
	plain := option.Transport{Path: "/a b?ed=2048"}
	for _, tt := range []struct {
		name   string
		o      option.Transport
		head   string
		status int
		early  string
		echo   string
	}{
		{"plain", option.Transport{Path: "/ws"}, upgrade("/ws", ""), 101, "", ""},
		{"no path", option.Transport{}, upgrade("/", ""), 101, "", ""},
		{"path without a slash", option.Transport{Path: "ws"}, upgrade("/ws", ""), 101, "", ""},
		{"query", option.Transport{Path: "/ws"}, upgrade("/ws?ed=2048", ""), 101, "", ""},
		{"absolute form", option.Transport{Path: "/ws"}, upgrade("http://a.example/ws", ""), 101, "", ""},
		{"encoded path", plain, upgrade("/a%20b", ""), 101, "", ""},
		{"early in the path", plain, upgrade("/a%20b"+raw, ""), 101, string(early), ""},
		{"no base64 in the path", plain, upgrade("/a%20b!", ""), 404, "", ""},
		{"early in the header", plain, upgrade("/a%20b", "Sec-WebSocket-Protocol: "+std+"\r\n"), 101, string(early), std},
		{"path is exact", option.Transport{Path: "/ws"}, upgrade("/ws"+raw, ""), 404, "", ""},
		{"subprotocol", plain, upgrade("/a%20b", "Sec-WebSocket-Protocol: chat, superchat\r\n"), 101, "", ""},
		{"own header", option.Transport{Path: "/ws", EarlyDataHeaderName: "X-Early"}, upgrade("/ws", "x-early: "+raw+"\r\n"), 101, string(early), ""},
		{"own header unused", option.Transport{Path: "/ws", EarlyDataHeaderName: "X-Early"}, upgrade("/ws", "Sec-WebSocket-Protocol: "+raw+"\r\n"), 101, string(early), raw},
		{"too much early data", plain, upgrade("/a%20b", "Sec-WebSocket-Protocol: "+strings.Repeat("A", 12_000)+"\r\n"), 400, "", ""},
		{"wrong path", option.Transport{Path: "/ws"}, upgrade("/", ""), 404, "", ""},
		{"host", option.Transport{Path: "/ws", Host: option.Listable[string]{"A.Example"}}, upgrade("/ws", ""), 101, "", ""},
		{"host with a port", option.Transport{Path: "/ws", Host: option.Listable[string]{"a.example:8443"}}, upgrade("/ws", ""), 101, "", ""},
		{"wrong host", option.Transport{Path: "/ws", Host: option.Listable[string]{"b.example"}}, upgrade("/ws", ""), 404, "", ""},
		{"no upgrade", option.Transport{Path: "/ws"}, "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", 404, "", ""},
		{"old version", option.Transport{Path: "/ws"}, strings.Replace(upgrade("/ws", ""), ": 13", ": 8", 1), 400, "", ""},
		{"bad key", option.Transport{Path: "/ws"}, strings.Replace(upgrade("/ws", ""), "Q==", "Q=", 1), 400, "", ""},
		{"HTTP/1.0", option.Transport{Path: "/ws"}, strings.Replace(upgrade("/ws", ""), "1.1", "1.0", 1), 400, "", ""},
		{"post", option.Transport{Path: "/ws"}, strings.Replace(upgrade("/ws", "Content-Length: 0\r\n"), "GET", "POST", 1), 404, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, _, result := serve(t, newServer(t, tt.o))
			resp, r := request(t, client, tt.head)
			if resp.StatusCode != tt.status {
				t.Fatalf("status = %s, want %d", resp.Status, tt.status)
			}
			if tt.status != 101 {
				checkPage(t, resp)
				return
			}
			if got := resp.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Errorf("accept = %q", got)
			}
			if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != tt.echo {
				t.Errorf("protocol = %q, want %q", got, tt.echo)
			}
			_, _ = client.Write(append(frame(0x82, "payload"), frame(0x88, "")...))
			var got []byte
			for {
				b0, payload, err := readFrame(r)
				if err != nil || b0 == 0x88 {
					break
				}
				got = append(got, payload...)
			}
			// The echo of the last bytes may lose the race against the answer to the Close.
			if !strings.HasPrefix(tt.early+"payload", string(got)) || len(got) < len(tt.early) {
				t.Errorf("echo = %q", got)
			}
			if err := <-result; err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

func checkPage(t *testing.T, resp *http.Response) {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), "<center>nginx</center>") {
		t.Errorf("body = %q, %v", body, err)
	}
	if _, err := http.ParseTime(resp.Header.Get("Date")); err != nil || resp.Header.Get("Server") != "nginx" ||
		resp.Header.Get("Content-Type") != "text/html" || resp.ContentLength != int64(len(body)) {
		t.Errorf("header = %v", resp.Header)
	}
}

// Frames that come in one segment with the request are not lost.
func TestLeftover(t *testing.T) {
	client, _, _ := serve(t, newServer(t, option.Transport{}))
	raw := upgrade("/", "") + string(frame(0x82, "one")) + string(frame(0x82, "two")[:5])
	_, r := request(t, client, raw)
	if _, payload, err := readFrame(r); string(payload) != "one" {
		t.Fatalf("%q, %v", payload, err)
	}
	_, _ = client.Write(frame(0x82, "two")[5:])
	if _, payload, err := readFrame(r); string(payload) != "two" {
		t.Fatalf("%q, %v", payload, err)
	}
}

func TestHeaders(t *testing.T) {
	client, _, _ := serve(t, newServer(t, option.Transport{Headers: map[string]option.Listable[string]{
		"X-Two": {"1", "2"}, "Host": {"x"}, "server": {"cloudflare"}, "Upgrade": {"none"},
	}}))
	resp, _ := request(t, client, upgrade("/", ""))
	if !slices.Equal(resp.Header["X-Two"], []string{"1", "2"}) || resp.Header.Get("Host") != "" ||
		resp.Header.Get("Server") != "cloudflare" || resp.Header.Get("Upgrade") != "websocket" {
		t.Errorf("header = %v", resp.Header)
	}
}

func TestSource(t *testing.T) {
	for trusted, want := range map[string]string{"127.0.0.0/8": "192.0.2.1:0", "192.0.2.0/24": "invalid AddrPort"} {
		client, source, result := serve(t, newServer(t, option.Transport{}, trusted))
		_, _ = request(t, client, upgrade("/", "X-Forwarded-For: 192.0.2.1\r\n"))
		_ = client.Close()
		<-result
		if got := source.String(); got != want {
			t.Errorf("%s: %s", trusted, got)
		}
	}
}

// What net/http as a client sees: ordinary pages on a connection that is kept alive.
func TestPages(t *testing.T) {
	s := newServer(t, option.Transport{Path: "/secret"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	conns := make(chan struct{}, 100)
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- struct{}{}
			go func() {
				_ = s.Serve(context.Background(), c, func(context.Context, net.Conn, netip.AddrPort) { panic("a stream") })
			}()
		}
	}()
	transport := &http.Transport{}
	client := &http.Client{Transport: transport}
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/", "", 404},
		{"GET", "/secret", "", 404},
		{"HEAD", "/", "", 404},
		{"POST", "/", "a=b", 404},
		{"OPTIONS", "/", "", 405},
		{"PUT", "/secret", "body", 405},
		{"GET", "/last", "", 404},
	} {
		req, _ := http.NewRequest(tt.method, "http://"+l.Addr().String()+tt.path, strings.NewReader(tt.body))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != tt.status || tt.method == "HEAD" && resp.ContentLength != 146 {
			t.Errorf("%s %s: %s, %d bytes", tt.method, tt.path, resp.Status, resp.ContentLength)
		}
		if tt.method == "HEAD" {
			_ = resp.Body.Close()
			continue
		}
		checkPage(t, resp)
		_ = resp.Body.Close()
	}
	if len(conns) != 1 {
		t.Errorf("%d connections", len(conns))
	}
	transport.CloseIdleConnections()
	_ = l.Close()
	<-done
}

// nginx 1.26 with server_tokens off and an empty root, byte for byte but the date.
func TestPageBytes(t *testing.T) {
	client, _, _ := serve(t, newServer(t, option.Transport{Path: "/secret"}))
	_, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	got, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(got), "Date: ")
	_, rest, _ = strings.Cut(rest, "\r\n")
	want := "HTTP/1.1 404 Not Found\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: 146\r\nConnection: close\r\n\r\n" +
		"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n" +
		"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
	if head+rest != want {
		t.Errorf("got  %q\nwant %q", head+rest, want)
	}
}

// A request that comes drop by drop ends with the deadline of the connection.
func TestSlowLoris(t *testing.T) {
	a, b := tcpPair(t)
	_ = b.SetDeadline(time.Now().Add(50 * time.Millisecond))
	go func() {
		for _, c := range []byte("GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 1<<20)) {
			if _, err := a.Write([]byte{c}); err != nil {
				return
			}
		}
	}()
	err := newServer(t, option.Transport{}).Serve(context.Background(), b, nil)
	if !errors.Is(err, http1.ErrRefused) {
		t.Errorf("err = %v", err)
	}
	_ = a.Close()
}

func TestGarbage(t *testing.T) {
	valid := []byte(upgrade("/", "") + string(frame(0x82, "payload")))
	transporttest.Garbage(t, newServer(t, option.Transport{Path: "/"}), valid, transporttest.IsHTTP1)
}

// script is a client that has sent everything and closed.
type script struct {
	net.Conn
	in     *bytes.Reader
	out    bytes.Buffer
	closed bool
}

func (s *script) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { s.closed = true; return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }

func FuzzServe(f *testing.F) {
	f.Add([]byte(upgrade("/", "")))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"))
	s := newServer(f, option.Transport{Path: "/"})
	f.Fuzz(func(t *testing.T, in []byte) {
		c := &script{in: bytes.NewReader(in)}
		_ = s.Serve(context.Background(), c, func(_ context.Context, c net.Conn, _ netip.AddrPort) { _ = c.Close() })
		r := bufio.NewReader(&c.out)
		for c.out.Len() > 0 || r.Buffered() > 0 { // whatever is answered is HTTP
			if page, _ := r.Peek(6); string(page) == "<html>" {
				return // to HTTP/0.9
			}
			resp, err := http.ReadResponse(r, &http.Request{Method: "GET"})
			if err != nil {
				t.Fatalf("answer to %q: %v", in, err)
			}
			if resp.StatusCode == 101 || bytes.Contains(in, []byte("HEAD")) {
				return
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatalf("answer to %q: %v", in, err)
			}
		}
	})
}
