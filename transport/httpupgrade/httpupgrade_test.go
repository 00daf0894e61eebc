package httpupgrade

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"heki/option"
	"heki/transport/internal/http1"
	"heki/transport/internal/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const head = "GET /up HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"

func newServer(t testing.TB, o option.Transport) *Server {
	t.Helper()
	s, err := New(&o, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUpgrade(t *testing.T) {
	for _, tt := range []struct {
		name, raw string
		status    int
	}{
		{"plain", head + "\r\n", 101},
		{"query", strings.Replace(head, "/up", "/up?ed=2048", 1) + "\r\n", 101},
		{"encoded", strings.Replace(head, "/up", "/%75p", 1) + "\r\n", 101},
		{"other host", strings.Replace(head, "a.example", "b.example", 1) + "\r\n", 404},
		{"second host", strings.Replace(head, "a.example", "C.example:443", 1) + "\r\n", 101},
		{"longer path", strings.Replace(head, "/up", "/up/", 1) + "\r\n", 404},
		{"websocket", head + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 404},
		{"no upgrade", strings.Replace(head, "Upgrade: W", "X: W", 1) + "\r\n", 404},
		{"post", strings.Replace(head, "GET", "POST", 1) + "\r\n", 404},
		{"put", strings.Replace(head, "GET", "PUT", 1) + "\r\n", 405},
		{"1.0", strings.Replace(head, "1.1", "1.0", 1) + "\r\n", 404},
		{"http/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
		{"garbage", "\x05\x01\x00", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := transporttest.Echo(t, newServer(t, option.Transport{
				Path: "/up?ed=1", Host: option.Listable[string]{"a.example", "c.example"},
				Headers: map[string]option.Listable[string]{"X-A": {"b"}, "Server": {"caddy"}},
			}))
			// The payload comes with the request, as from clients that do not wait.
			_, _ = io.WriteString(run.Client, tt.raw+"first bytes")
			r := bufio.NewReader(run.Client)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != tt.status || resp.Header.Get("Server") != "caddy" {
				t.Fatalf("%v, %v, want %d", resp, err, tt.status)
			}
			if tt.status != 101 {
				_ = run.Client.Close()
				if err := <-run.Result; !errors.Is(err, http1.ErrRefused) {
					t.Errorf("err = %v", err)
				}
				return
			}
			if resp.Header.Get("X-A") != "b" || !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
				t.Errorf("header = %v", resp.Header)
			}
			got := make([]byte, len("first bytes"))
			if _, err := io.ReadFull(r, got); string(got) != "first bytes" {
				t.Errorf("%q, %v", got, err)
			}
			_ = run.Client.Close()
			if err := <-run.Result; err != nil {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestDial(t *testing.T) {
	o := option.Transport{Path: "/ü", Host: option.Listable[string]{"a.example"}, Headers: map[string]option.Listable[string]{"X-Forwarded-For": {"192.0.2.7"}}}
	run := transporttest.Echo(t, newServer(t, option.Transport{Path: "/ü", Host: o.Host}))
	d, err := NewDialer(&o, "b.example")
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial(t.Context(), run.Client)
	if err != nil {
		t.Fatal(err)
	}
	transporttest.Echoes(t, c, 1<<20)
	_ = c.Close()
	if err := <-run.Result; err != nil {
		t.Errorf("err = %v", err)
	}
	if from := <-run.Source; from.String() != "192.0.2.7:0" {
		t.Errorf("source = %s", from)
	}
}

func TestDialFails(t *testing.T) {
	d, err := NewDialer(&option.Transport{Path: "/x"}, "a")
	if err != nil {
		t.Fatal(err)
	}
	run := transporttest.Echo(t, newServer(t, option.Transport{Path: "/y"}))
	if _, err := d.Dial(t.Context(), run.Client); !errors.Is(err, ErrRefused) {
		t.Errorf("other path: %v", err)
	}
	<-run.Result

	client, _ := transporttest.Pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := d.Dial(ctx, client); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent server: %v", err)
	}
}

func TestGarbage(t *testing.T) {
	transporttest.Garbage(t, newServer(t, option.Transport{Path: "/up"}), []byte(head+"\r\npayload"), transporttest.IsHTTP1)
}

func BenchmarkUpgrade(b *testing.B) {
	s := newServer(b, option.Transport{Path: "/up"})
	in := []byte(head + "\r\n")
	b.ReportAllocs()
	for b.Loop() {
		transporttest.Discard(s, transporttest.NewScript(in))
	}
}
