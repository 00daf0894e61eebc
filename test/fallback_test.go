package test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"heki/test/harness"
)

// probe is something that is not a user.
type probe struct {
	name    string
	payload []byte
	finish  bool // the prober finishes sending; else it waits for an answer
}

func probes(t testing.TB, raw harness.Raw) []probe {
	t.Helper()
	raw.User = harness.Stranger()
	unknown, err := raw.Request("127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 700)
	io.ReadFull(harness.Stream(7), noise)
	text := bytes.Repeat([]byte("0123456789abcdef"), 8) // hex digits like a Trojan key, never a CRLF
	return []probe{
		{"http", []byte("GET / HTTP/1.1\r\nHost: heki.test\r\n\r\n"), false},
		{"short http", []byte("GET /\r\n\r\n"), false},
		{"unknown user", append(unknown, "GET / HTTP/1.1\r\n\r\n"...), false},
		{"unknown user, no more", unknown, true},
		{"noise", noise, true},
		{"zeros", make([]byte, 64), true},
		{"hex", text, true},
		{"one byte", []byte{0}, true},
		{"half a header", unknown[:10], true},
	}
}

// TestFallback wants the fallback's bytes, and only those, for whoever is not a user.
func TestFallback(t *testing.T) {
	t.Parallel()
	for name, road := range rawRoads() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := harness.StartWeb(t)
			raw, _ := startRaw(t, road, func(in harness.JSON) {
				in["fallback"] = harness.JSON{"server": harness.Loopback, "server_port": web.Port}
				in["handshake_timeout"] = "2s" // VMess waits so long for the 16 bytes that it needs to tell
			})
			for _, p := range probes(t, raw) {
				t.Run(p.name, func(t *testing.T) {
					answer, closed, err := raw.Probe(p.payload, p.finish, 15*time.Second)
					if err != nil {
						t.Fatal(err)
					}
					if !closed || string(answer) != harness.Page {
						t.Fatalf("answer %q, closed %t; want the fallback's page and its end", answer, closed)
					}
					if got := web.Seen(); !bytes.Equal(got, p.payload) {
						t.Errorf("the fallback was sent\n%q, want\n%q", got, p.payload)
					}
				})
			}
			t.Run("a user still gets in", func(t *testing.T) {
				harness.CheckParallel(t, raw, harness.StartTargets(t), 3)
			})
		})
	}
}

// TestNoFallback wants silence and an end, or what any web server would say, and the same for
// every kind of garbage.
func TestNoFallback(t *testing.T) {
	t.Parallel()
	for name, road := range rawRoads() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, _ := startRaw(t, road, func(in harness.JSON) {
				if harness.UnderTest() == harness.Heki {
					in["handshake_timeout"] = "2s"
				}
			})
			for _, p := range probes(t, raw) {
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					answer, closed, err := raw.Probe(p.payload, p.finish, 20*time.Second)
					if err != nil {
						t.Fatal(err)
					}
					if !closed {
						t.Error("still open after 20 s")
					}
					if len(answer) > 0 && !plainRefusal(answer) {
						t.Errorf("answer %q", answer)
					}
				})
			}
		})
	}
}

// plainRefusal says whether an answer is a web server's refusal that names neither us nor Go. A request of
// HTTP/0.9, which has no head, gets the page alone, as from nginx.
func plainRefusal(answer []byte) bool {
	text := strings.ToLower(string(answer))
	refused := strings.HasPrefix(text, "http/1.1 4") || strings.HasPrefix(text, "<html>\r\n<head><title>404 not found</title>")
	return refused && !strings.Contains(text, "heki") && !strings.Contains(text, "404 page not found")
}

// TestWebSocketProbe asks a WebSocket inbound for things that are not its path.
func TestWebSocketProbe(t *testing.T) {
	t.Parallel()
	port := harness.FreePort(t)
	road := harness.Road{Protocol: "vless", Transport: "ws"}
	harness.StartServer(t, road.Inbound(port, nil, harness.Users()))
	const upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, p := range []struct{ name, request string }{
		{"page", "GET / HTTP/1.1\r\nHost: heki.test\r\nConnection: close\r\n\r\n"},
		{"head", "HEAD / HTTP/1.1\r\nHost: heki.test\r\nConnection: close\r\n\r\n"},
		{"path without upgrade", "GET " + harness.Path + " HTTP/1.1\r\nHost: heki.test\r\nConnection: close\r\n\r\n"},
		{"upgrade of another path", "GET /other HTTP/1.1\r\nHost: heki.test\r\n" + upgrade + "\r\n"},
		{"post", "POST / HTTP/1.1\r\nHost: heki.test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"},
	} {
		t.Run(p.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", harness.Address(port))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			fmt.Fprint(conn, p.request)
			answer := make([]byte, 64<<10)
			n, _ := conn.Read(answer)
			if !plainRefusal(answer[:n]) {
				t.Errorf("answer %q, want a plain 4xx", answer[:n])
			}
		})
	}
}
