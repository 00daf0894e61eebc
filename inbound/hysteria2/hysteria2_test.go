package hysteria2

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sagernet/quic-go"
	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/inbound"
	"heki/internal/protocol/hysteria2"
	"heki/option"
)

// PROTOCOL.md of Hysteria 2: status 233, whether there is UDP, the rate, padding.
func TestAuthentication(t *testing.T) {
	in := start(t, option.Hysteria2{DownMbps: 80}, 2)
	c := dial(t, in)
	for range 2 { // a second time as well
		resp := c.login(account(1).Password, 0)
		if resp.StatusCode != 233 || resp.Header.Get("Hysteria-UDP") != "true" || resp.Header.Get("Hysteria-CC-RX") != "10000000" {
			t.Errorf("%d, %v", resp.StatusCode, resp.Header)
		}
		if n := len(resp.Header.Get("Hysteria-Padding")); n < 256 || n > 2047 {
			t.Errorf("%d bytes of padding", n)
		}
	}
	auto := start(t, option.Hysteria2{DownMbps: 80, IgnoreClientBandwidth: true}, 1)
	if got := dial(t, auto).login(account(0).Password, 1<<20).Header.Get("Hysteria-CC-RX"); got != "auto" {
		t.Errorf("with ignore_client_bandwidth the rate is %q", got)
	}
}

func TestRates(t *testing.T) {
	const m = 1_000_000
	for _, tt := range []struct {
		name            string
		r               rates
		announced, user uint64
		want            uint64
	}{
		{"nothing announced", rates{up: m}, 0, 0, 0},
		{"ignored", rates{ignore: true}, m, 0, 0},
		{"announced", rates{}, m, 0, m},
		{"server", rates{up: m / 2}, m, 0, m / 2},
		{"user", rates{up: m}, m, m / 2, m/2 + m/20},
		{"node", rates{up: m, node: m / 4}, m, m / 2, m/4 + m/40},
		{"above the limits", rates{up: 3 * m, node: 4 * m}, m, 2 * m, m},
	} {
		if got := tt.r.rate(tt.announced, &adapter.User{Account: adapter.Account{SpeedBytes: int64(tt.user)}}); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestStreams(t *testing.T) {
	for name, o := range map[string]option.Hysteria2{
		"plain":      {},
		"salamander": {Obfs: &option.Hysteria2Obfs{Type: "salamander", Password: "a secret"}},
	} {
		t.Run(name, func(t *testing.T) {
			in, to := start(t, o, 1), echo(t)
			c := join(t, in, 0)
			var wg sync.WaitGroup
			for i := range 40 {
				wg.Go(func() {
					s, r := c.open(to)
					if !r.OK {
						t.Errorf("refused: %q", r.Message)
						return
					}
					want := make([]byte, 1+i*5003)
					rand.Read(want)
					go func() {
						_, _ = s.Write(want)
						_ = s.Close()
					}()
					if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, want) {
						t.Errorf("%d bytes of %d came back, %v", len(got), len(want), err)
					}
				})
			}
			wg.Wait()
		})
	}
}

// The answer tells what became of the dial.
func TestRefusedDial(t *testing.T) {
	in := start(t, option.Hysteria2{}, 1)
	_, r := join(t, in, 0).open("127.0.0.1:1")
	if r.OK || r.Message != "connection refused" {
		t.Errorf("%+v", r)
	}
}

// datagram sends one packet in fragments of at most size bytes of payload.
func (c *client) datagram(session uint32, packet uint16, to string, payload []byte, size int) {
	c.t.Helper()
	count := (len(payload) + size - 1) / size
	for i := count - 1; i >= 0; i-- { // out of order
		d := hysteria2.Datagram{Session: session, Packet: packet, Index: uint8(i), Count: uint8(count), Address: M.ParseSocksaddr(to)}
		if err := c.conn.SendDatagram(append(hysteria2.AppendDatagram(nil, d), payload[i*size:min((i+1)*size, len(payload))]...)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// answer reads one packet, in as many fragments as it has.
func (c *client) answer() (hysteria2.Datagram, []byte) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	var whole hysteria2.Reassembly
	for {
		b, err := c.conn.ReceiveDatagram(ctx)
		if err != nil {
			c.t.Fatal(err)
		}
		d, n, err := hysteria2.ParseDatagram(b, "")
		if err != nil {
			c.t.Fatal(err)
		}
		if d.Count == 1 {
			return d, b[n:]
		}
		if d.Packet == 0 {
			c.t.Error("fragments of packet 0")
		}
		if payload, ok := whole.Add(&d, b[n:], time.Now()); ok {
			return d, payload
		}
	}
}

func TestPackets(t *testing.T) {
	in := start(t, option.Hysteria2{}, 1)
	c := join(t, in, 0)
	if err := c.conn.SendDatagram([]byte("no datagram of the protocol")); err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{1, 100, 1000, 1150, 1200, 2000, 4096} {
		want := bytes.Repeat([]byte{byte(i)}, size)
		to := []string{"192.0.2.1:53", "[2001:db8::1]:53", "a.example:443"}[i%3]
		c.datagram(uint32(i), uint16(i+1), to, want, 1000)
		d, got := c.answer()
		if d.Session != uint32(i) || d.Address.String() != to || !bytes.Equal(got, want) {
			t.Errorf("%d bytes to %s: %d bytes came back for %+v", size, to, len(got), d)
		}
	}
	c.datagram(1, 9, "192.0.2.1:53", make([]byte, 5000), 1000) // clients take no such answer
	c.datagram(1, 10, "192.0.2.1:53", []byte("after"), 1000)
	if _, got := c.answer(); string(got) != "after" {
		t.Errorf("%d bytes", len(got))
	}
}

// Whoever is not a user is a visitor of a web site, the request of a Hysteria client included.
func TestVisitors(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "site "+r.Host+" "+r.URL.Path)
	}))
	defer site.Close()
	host := strings.TrimPrefix(site.URL, "http://")
	for name, tt := range map[string]struct {
		o          *option.Masquerade
		status     int
		body, auth string // of /a.txt and of an authentication with a wrong password
	}{
		"none":    {nil, 404, "<html>", "<html>"},
		"file":    {&option.Masquerade{Type: "file", Directory: dir}, 200, "a file", "404 page not found"},
		"proxy":   {&option.Masquerade{Type: "proxy", URL: site.URL}, 200, "site www.example.org /a.txt", "site hysteria /auth"},
		"rewrite": {&option.Masquerade{Type: "proxy", URL: site.URL, RewriteHost: true}, 200, "site " + host + " /a.txt", "site " + host + " /auth"},
		"string":  {&option.Masquerade{Type: "string", StatusCode: 503, Headers: map[string]option.Listable[string]{"retry-after": {"9"}}, Content: "later"}, 503, "later", "later"},
	} {
		t.Run(name, func(t *testing.T) {
			in := start(t, option.Hysteria2{Hysteria2Local: option.Hysteria2Local{Masquerade: tt.o}}, 1)
			c := dial(t, in)
			resp, body := c.do(http.MethodGet, "https://www.example.org/a.txt", nil)
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.body) {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
			if name == "string" && resp.Header.Get("Retry-After") != "9" {
				t.Errorf("headers %v", resp.Header)
			}
			resp, body = c.do(http.MethodPost, "https://hysteria/auth", http.Header{hysteria2.HeaderAuth: {"wrong"}})
			if resp.StatusCode == hysteria2.StatusOK || !strings.Contains(body, tt.auth) || resp.Header.Get(hysteria2.HeaderUDP) != "" {
				t.Errorf("a wrong password: %d %q %v", resp.StatusCode, body, resp.Header)
			}
			s, err := c.conn.OpenStream() // HTTP/3 does not know the frame
			if err != nil {
				t.Fatal(err)
			}
			_ = s.SetDeadline(time.Now().Add(time.Minute))
			_, _ = s.Write(hysteria2.AppendRequest(nil, hysteria2.Request{Destination: M.ParseSocksaddr("127.0.0.1:80")}))
			_ = s.Close()
			if got, err := io.ReadAll(s); err == nil || len(got) > 0 {
				t.Errorf("a TCP stream of a visitor: %q, %v", got, err)
			}
		})
	}
}

// ended waits for the connection to end and returns the code that it ended with.
func (c *client) ended() quic.ApplicationErrorCode {
	c.t.Helper()
	select {
	case <-c.conn.Context().Done():
	case <-time.After(time.Minute):
		c.t.Fatal("the connection lives on")
	}
	var app *quic.ApplicationError
	if !errors.As(context.Cause(c.conn.Context()), &app) {
		c.t.Fatalf("ended by %v", context.Cause(c.conn.Context()))
	}
	return app.ErrorCode
}

// A removed user's connection ends at once, streams or none; the others' live on.
func TestSwapEndsConnections(t *testing.T) {
	in, to := start(t, option.Hysteria2{}, 0), echo(t)
	all := users(3)
	if err := in.SwapUsers(all); err != nil {
		t.Fatal(err)
	}
	idle, busy, stays := join(t, in, 0), join(t, in, 1), join(t, in, 2)
	busy.open(to)
	s, _ := stays.open(to)
	limited := *all[2]
	limited.SpeedBytes = 1 << 30
	if err := in.SwapUsers([]*adapter.User{&limited}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{idle, busy} {
		if code := c.ended(); code != codeKicked {
			t.Errorf("code %#x", code)
		}
	}
	if _, err := io.WriteString(s, "alive"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
		t.Error(err)
	}
	if resp := dial(t, in).login(account(0).Password, 0); resp.StatusCode == hysteria2.StatusOK {
		t.Error("a removed user gets in")
	}
}

func TestSwapUnderLoad(t *testing.T) {
	in, to := start(t, option.Hysteria2{}, 2), echo(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := in.SwapUsers(users(1 + n%50)); err != nil {
				t.Error(err)
			}
		}
	})
	for range 10 {
		c := join(t, in, 0)
		for range 5 {
			s, _ := c.open(to)
			_ = s.Close()
		}
	}
	close(stop)
	wg.Wait()
	if err := in.SwapUsers(append(users(2), users(1)...)); err == nil {
		t.Error("two users with one password were accepted")
	}
}

// Another inbound takes the address over: old connections live on, new ones are the new one's.
func TestTakeOver(t *testing.T) {
	pool, to := new(Pool), echo(t)
	cert := certificate(t)
	first := startOn(t, pool, option.Hysteria2{Stream: option.Stream{TLS: cert}}, 1)
	port := addrPort(first.Addresses()[0]).Port()
	first.Close()
	o := option.Hysteria2{Stream: option.Stream{TLS: cert, Listen: option.Listen{ListenPort: port}}}
	old := startOn(t, pool, o, 1)
	c := join(t, old, 0)
	s, _ := c.open(to)
	o.Masquerade = &option.Masquerade{Type: "string", Content: "the new one"}
	next := startOn(t, pool, o, 2)
	old.Retire()
	if _, body := dial(t, next).do(http.MethodGet, "https://a.example/", nil); body != "the new one" {
		t.Errorf("got %q", body)
	}
	join(t, next, 1)
	if _, err := io.WriteString(s, "alive"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
		t.Errorf("a connection of the old inbound: %v", err)
	}
	if old.Open() != 1 {
		t.Errorf("the old inbound has %d connections", old.Open())
	}
	waiting, cancel := context.WithCancel(t.Context())
	cancel()
	old.Wait(waiting)
	c.ended()
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	join(t, next, 0)
	// With another password of obfs nothing can be shared.
	o.Obfs = &option.Hysteria2Obfs{Type: "salamander", Password: "a secret"}
	hidden := startOn(t, pool, o, 1)
	next.Retire()
	join(t, hidden, 0)
}

func TestMistakes(t *testing.T) {
	env := inbound.Env{Log: slog.New(slog.DiscardHandler)}
	for want, o := range map[string]*option.Hysteria2{
		"tls":         {Stream: option.Stream{TLS: &option.TLS{Enabled: true}}},
		"masquerade":  {Stream: option.Stream{TLS: certificate(t)}, Hysteria2Local: option.Hysteria2Local{Masquerade: &option.Masquerade{Type: "file", Directory: "/no/such"}}},
		"bbr_profile": {Stream: option.Stream{TLS: certificate(t)}, Hysteria2Local: option.Hysteria2Local{BBRProfile: "fast"}},
	} {
		if _, err := New(env, "in", o, new(Pool)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := new(Inbound).SwapUsers([]*adapter.User{{Account: adapter.Account{Name: "alice"}}}); err == nil || !strings.Contains(err.Error(), `"alice": has no password`) {
		t.Error(err)
	}
}

// A browser that comes over TCP finds the same site, and is told of HTTP/3.
func TestSiteOnTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	in := start(t, option.Hysteria2{Hysteria2Local: option.Hysteria2Local{MasqueradePort: uint16(port), Masquerade: &option.Masquerade{Type: "string", Content: "the site"}}}, 1)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/", port), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	want := fmt.Sprintf(`h3=":%d"; ma=86400`, addrPort(in.Addresses()[0]).Port())
	if string(body) != "the site" || resp.Proto != "HTTP/2.0" || resp.Header.Get("Alt-Svc") != want {
		t.Errorf("%q, %s, Alt-Svc %q, want %q", body, resp.Proto, resp.Header.Get("Alt-Svc"), want)
	}
	if _, body := dial(t, in).do(http.MethodGet, "https://127.0.0.1/", nil); body != "the site" {
		t.Errorf("over HTTP/3: %q", body)
	}
}
