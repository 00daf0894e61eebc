package simpleobfs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	N "github.com/sagernet/sing/common/network"
	"go.uber.org/goleak"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/internal/http1"
	"heki/transport/internal/transporttest"
	"heki/transport/internal/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func golden(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func request(line, host string) string {
	return line + " HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

func TestModes(t *testing.T) {
	option := func(mode string) option.Obfs {
		return option.Obfs{Type: "http", Mode: mode, Host: option.Listable[string]{"a.example"}, Path: "/p"}
	}
	for _, tt := range []struct {
		name, mode, raw string
		status          int
	}{
		{"obfs-local", "relaxed", golden(t, "obfs-local.bin"), 101},
		{"relaxed", "relaxed", request("GET /", "b.example"), 101},
		{"post", "relaxed", request("POST /", "b.example"), 101},
		{"strict", "strict", request("GET /p", "A.Example:8388"), 101},
		{"strict, query", "strict", request("GET /p?x=1", "a.example"), 101},
		{"strict, other path", "strict", request("GET /", "a.example"), 404},
		{"strict, other host", "strict", request("GET /p", "b.example"), 404},
		{"strict_path", "strict_path", request("GET /p", "b.example"), 101},
		{"strict_path, other", "strict_path", request("GET /pp", "a.example"), 404},
		{"strict_host", "strict_host", request("GET /", "a.example"), 101},
		{"strict_host, other", "strict_host", request("GET /", "aa.example"), 404},
		{"no key", "relaxed", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", 101},
		{"browser", "relaxed", "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", 404},
		{"other upgrade", "relaxed", "GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: h2c\r\n\r\n", 404},
		{"no host", "relaxed", "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 400},
		{"shadowsocks", "relaxed", "\x8f\x01\x7c garbage", 400},
		{"tls", "relaxed", "\x16\x03\x01\x02\x00\x01", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := option(tt.mode)
			run := transporttest.Echo(t, New(&o))
			early := "early"
			if tt.name == "obfs-local" {
				early = "" // it has its own
			}
			_, _ = io.WriteString(run.Client, tt.raw+early)
			r := bufio.NewReader(run.Client)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != tt.status {
				t.Fatalf("%v, %v, want %d", resp, err, tt.status)
			}
			if tt.status == 101 {
				want := early
				if early == "" {
					want = "PAYLOAD-1"
				}
				got := make([]byte, len(want))
				if _, err := io.ReadFull(r, got); string(got) != want {
					t.Errorf("%q, %v", got, err)
				}
			}
			_ = run.Client.Close()
			if err := <-run.Result; (err == nil) != (tt.status == 101) || err != nil && !errors.Is(err, http1.ErrRefused) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

// The answer has the form of obfs-server's.
func TestAnswer(t *testing.T) {
	theirs, _, _ := strings.Cut(golden(t, "obfs-server.bin"), "ANSWER")
	local := golden(t, "obfs-local.bin")
	r, err := http1.Parse([]byte(local[:strings.Index(local, "PAYLOAD")]))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 21, 56, 58, 0, time.UTC)
	got := string(appendAnswer(nil, &r, "nginx/1.10.9", now))
	accept := regexp.MustCompile(`Accept: \S+`)
	if want := accept.ReplaceAllString(theirs, "Accept: "+web.AcceptKey("Kv+MA+VjvTYfEvtqqeDbMg==")); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// The head and the first bytes are one write, nothing is written before, and then the socket is bare.
func TestVanishes(t *testing.T) {
	client, server := transporttest.Pair(t)
	done := make(chan error, 1)
	go func() {
		done <- New(&option.Obfs{}).Serve(context.Background(), server, func(_ context.Context, c net.Conn, _ netip.AddrPort) {
			first := make([]byte, len("PAYLOAD-1"))
			if _, err := io.ReadFull(c, first); err != nil || string(first) != "PAYLOAD-1" {
				t.Errorf("first = %q, %v", first, err)
			}
			if netio.RawTCP(c) != nil {
				t.Error("bare before the answer")
			}
			_, _ = c.Write([]byte("ANSWER"))
			if netio.RawTCP(c) == nil {
				t.Error("not bare after the answer")
			}
			if _, ok := c.(N.ReadWaiter); !ok {
				t.Error("waits with a buffer")
			}
			_ = c.Close()
		})
	}()
	_, _ = io.WriteString(client, golden(t, "obfs-local.bin"))
	got := make([]byte, 4096)
	n, err := client.Read(got)
	if err != nil || !bytes.HasSuffix(got[:n], []byte("\r\n\r\nANSWER")) || !bytes.HasPrefix(got, []byte("HTTP/1.1 101 ")) {
		t.Errorf("first read = %q, %v", got[:n], err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestEverySplit(t *testing.T) {
	raw := golden(t, "obfs-local.bin")
	for i := range len(raw) {
		run := transporttest.Echo(t, New(&option.Obfs{}))
		_, _ = io.WriteString(run.Client, raw[:i])
		time.AfterFunc(time.Millisecond, func() { _, _ = io.WriteString(run.Client, raw[i:]) })
		r := bufio.NewReader(run.Client)
		resp, err := http.ReadResponse(r, nil)
		got := make([]byte, len("PAYLOAD-1"))
		if err == nil {
			_, err = io.ReadFull(r, got)
		}
		if err != nil || resp.StatusCode != 101 || string(got) != "PAYLOAD-1" {
			t.Fatalf("split at %d: %v, %q, %v", i, resp, got, err)
		}
		_ = run.Client.Close()
		if err := <-run.Result; err != nil {
			t.Fatalf("split at %d: %v", i, err)
		}
	}
}

func TestGarbage(t *testing.T) {
	transporttest.Garbage(t, New(&option.Obfs{}), []byte(golden(t, "obfs-local.bin")), transporttest.IsHTTP1)
}

// Whatever comes, the stream is what follows the head, byte for byte.
func FuzzServe(f *testing.F) {
	f.Add([]byte(golden(f, "obfs-local.bin")))
	f.Add([]byte(request("GET /", "a") + "x"))
	f.Add([]byte("GET / HTTP/1.0\nUpgrade: websocket\n\nrest"))
	f.Fuzz(func(t *testing.T, in []byte) {
		client, server := net.Pipe()
		defer client.Close()
		go func() {
			_, _ = client.Write(in)
			_ = client.Close()
		}()
		_ = New(&option.Obfs{}).Serve(context.Background(), server, func(_ context.Context, c net.Conn, _ netip.AddrPort) {
			rest, _ := io.ReadAll(c)
			_ = c.Close()
			head := in[:len(in)-len(rest)]
			if !bytes.HasSuffix(in, rest) || !bytes.HasSuffix(head, []byte("\n")) {
				t.Errorf("%q follows %q", rest, head)
			}
			if !bytes.Contains(bytes.ToLower(head), []byte("websocket")) {
				t.Errorf("opened by %q", head)
			}
		})
	})
}
