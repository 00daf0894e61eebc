package reality

import (
	"bytes"
	"context"
	"crypto/rand"
	stdtls "crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	utls "github.com/metacubex/utls"
)

// exchange checks that c reaches the echo, and its end.
func exchange(t testing.TB, c *utls.UConn) {
	t.Helper()
	data := make([]byte, 300<<10)
	_, _ = rand.Read(data)
	go func() {
		_, _ = c.Write(data)
		_ = c.CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	_ = c.Close()
}

func TestUser(t *testing.T) {
	h := start(t, newOptions(t, newTarget(t, nil).Listener.Addr().String()))
	for _, tt := range []struct {
		name string
		user user
	}{
		{"empty short id", user{}},
		{"short id", user{shortID: [8]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}}},
		{"other name", user{name: "www.example.com"}},
		{"old clock", user{at: time.Unix(1e9, 0)}},
		{"chrome", user{id: utls.HelloChrome_Auto}},
		{"chrome 120", user{id: utls.HelloChrome_120}},
		{"firefox", user{id: utls.HelloFirefox_Auto}},
		{"safari", user{id: utls.HelloSafari_Auto}},
		{"ios", user{id: utls.HelloIOS_Auto}},
		{"edge", user{id: utls.HelloEdge_Auto}},
		{"no post-quantum", user{without: utls.X25519MLKEM768}},
		{"post-quantum alone", user{without: utls.X25519}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := h.connect(t, tt.user)
			if err != nil {
				t.Fatalf("client: %v, server: %v", err, <-h.results)
			}
			if err := <-h.results; err != nil {
				t.Fatal(err)
			}
			exchange(t, c)
		})
	}
}

// A stranger sees the target's certificate.
func TestStranger(t *testing.T) {
	o := newOptions(t, newTarget(t, nil).Listener.Addr().String())
	o.Reality.MaxTimeDifference, o.Reality.MinClientVersion, o.Reality.MaxClientVersion = 60e9, "1.8.1", "2"
	now := time.Now()
	h := startAt(t, o, func() time.Time { return now })
	for _, tt := range []struct {
		name string
		user user
		why  error
	}{
		{"late but in time", user{at: now.Add(-59 * time.Second)}, nil},
		{"early but in time", user{at: now.Add(59 * time.Second)}, nil},
		{"late", user{at: now.Add(-62 * time.Second)}, errClock},
		{"early", user{at: now.Add(62 * time.Second)}, errClock},
		{"short id", user{shortID: [8]byte{1}}, errShortID},
		{"half a short id", user{shortID: [8]byte{0x01, 0x23, 0x45, 0x67}}, errShortID},
		{"key", user{key: bytes.Repeat([]byte{8}, 32)}, errNoAuth},
		{"name", user{name: "other.example"}, errServerName},
		{"old version", user{version: [3]byte{1, 8, 0}}, errVersion},
		{"new version", user{version: [3]byte{2, 0, 1}}, errVersion},
		{"newest version in time", user{version: [3]byte{2, 0, 0}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := h.connect(t, tt.user)
			if tt.why == nil {
				if err != nil {
					t.Fatal(err, <-h.results)
				}
				exchange(t, c)
				<-h.results
				return
			}
			if !errors.Is(err, errRealCertificate) {
				t.Errorf("client: %v", err)
			}
			if err := <-h.results; !errors.Is(err, ErrStranger) || !errors.Is(err, tt.why) {
				t.Errorf("server: %v", err)
			}
		})
	}
}

// get fetches the page through h as a browser would, by HTTP/2.
func (h *host) get(t *testing.T, config *stdtls.Config) (status string, cert []byte, err error) {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig:   config,
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", h.addr)
		},
	}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, Timeout: 10 * time.Second}
	r, err := client.Get("https://" + config.ServerName + "/")
	if err != nil {
		return "", nil, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return r.Proto + " " + string(body), r.TLS.PeerCertificates[0].Raw, err
}

func TestBrowser(t *testing.T) {
	site := newTarget(t, nil)
	h := start(t, newOptions(t, site.Listener.Addr().String()))
	for _, tt := range []struct {
		name   string
		config *stdtls.Config
	}{
		{"our name", &stdtls.Config{ServerName: serverName}},
		{"another name", &stdtls.Config{ServerName: "other.example"}},
		{"TLS 1.2", &stdtls.Config{ServerName: serverName, MaxVersion: stdtls.VersionTLS12}},
		{"P-256", &stdtls.Config{ServerName: serverName, CurvePreferences: []stdtls.CurveID{stdtls.CurveP256}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.config.InsecureSkipVerify = true
			got, cert, err := h.get(t, tt.config)
			if err != nil || got != "HTTP/2.0 "+page || !bytes.Equal(cert, site.Certificate().Raw) {
				t.Errorf("got %q, %v", got, err)
			}
			if err := <-h.results; !errors.Is(err, ErrStranger) {
				t.Errorf("server: %v", err)
			}
		})
	}
}

// probe sends data to addr and returns all that comes back until the end.
func probe(t *testing.T, addr string, halfClose bool, data []byte) []byte {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, _ = c.Write(data)
	if halfClose {
		_ = c.(*net.TCPConn).CloseWrite()
	}
	got, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) { // a reset is an end
		t.Fatal(err)
	}
	return got
}

// What is no ClientHello gets the target's very bytes, and its end.
func TestGarbage(t *testing.T) {
	site := newTarget(t, nil)
	addr := site.Listener.Addr().String()
	h := start(t, newOptions(t, addr))
	noise := make([]byte, 600)
	_, _ = rand.Read(noise)
	hello := helloOf(t, user{key: bytes.Repeat([]byte{9}, 32)})
	for _, tt := range []struct {
		name string
		data []byte
		half bool
	}{
		{"http", []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), false},
		{"noise", noise, false},
		{"nothing", nil, true},
		{"one byte", []byte{22}, true},
		{"half a hello", hello[:100], true},
		{"two records", append(append([]byte{22, 3, 1, 0, 10}, hello[5:15]...), 23, 3, 3, 0, 1, 0), true},
		{"empty record", []byte{22, 3, 1, 0, 0}, true},
		{"long record", []byte{22, 3, 1, 0xff, 0xff, 1, 2, 3}, true},
		{"alert", []byte{21, 3, 1, 0, 2, 1, 0}, false},
		{"PROXY header", append([]byte("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), hello...), false},
		{"larger than any hello", append([]byte{22, 3, 1, 0x40, 0, 1, 0, 0xff, 0}, make([]byte, 40<<10)...), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := probe(t, addr, tt.half, tt.data)
			if got := probe(t, h.addr, tt.half, tt.data); !bytes.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if err := <-h.results; !errors.Is(err, ErrStranger) {
				t.Errorf("server: %v", err)
			}
		})
	}
}

// What sing-box 1.14.1 (metacubex/utls 1.8.7), mihomo 1.19.20 (1.8.4) and Xray 1.260327.0
// (refraction-networking/utls 1.8.3-0.20260301010127) all call android is HelloAndroid_11_OkHttp: TLS 1.2,
// without a key share to authenticate with. Their 360 is one as old. Both meet the target.
func TestOldBrowsers(t *testing.T) {
	h := start(t, newOptions(t, newTarget(t, nil).Listener.Addr().String()))
	for _, id := range []utls.ClientHelloID{utls.HelloAndroid_11_OkHttp, utls.Hello360_Auto} {
		if _, err := (user{id: id}).dial(h.raw(t)); !errors.Is(err, errNoKey) {
			t.Errorf("%s: a user got past %v", id.Str(), err)
		}
		<-h.results
		c := utls.UClient(h.raw(t), &utls.Config{ServerName: serverName, InsecureSkipVerify: true}, id)
		if err := c.Handshake(); err != nil || c.ConnectionState().Version != utls.VersionTLS12 {
			t.Errorf("%s: %#x, %v", id.Str(), c.ConnectionState().Version, err)
		}
		_ = c.Close()
		if err := <-h.results; !errors.Is(err, errNoTLS13) {
			t.Errorf("%s: %v", id.Str(), err)
		}
	}
}

// A captured ClientHello of a user meets the target when it is sent again, and so does a changed one.
func TestReplay(t *testing.T) {
	h := start(t, newOptions(t, newTarget(t, nil).Listener.Addr().String()))
	hello := helloOf(t, user{})
	c := h.raw(t)
	_, _ = c.Write(hello)
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if err := <-h.results; err == nil || errors.Is(err, ErrStranger) {
		t.Fatalf("first: %v", err)
	}
	for _, tt := range []struct {
		name string
		at   int
		why  error
	}{{"again", -1, errReplay}, {"changed", 20, errNoAuth}} {
		data := bytes.Clone(hello)
		if tt.at >= 0 {
			data[tt.at] ^= 1
		}
		c := h.raw(t)
		_, _ = c.Write(data)
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		if err := <-h.results; !errors.Is(err, tt.why) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// A ClientHello may come in any pieces, of TCP and of records.
func TestPieces(t *testing.T) {
	h := start(t, newOptions(t, newTarget(t, nil).Listener.Addr().String()))
	for _, cut := range []func(net.Conn) net.Conn{
		func(c net.Conn) net.Conn { return &pieces{Conn: c, size: 7} },
		func(c net.Conn) net.Conn { return &pieces{Conn: c, size: 400, records: true} },
	} {
		c, err := user{}.dial(cut(h.raw(t)))
		if err != nil {
			t.Fatal(err, <-h.results)
		}
		if err := <-h.results; err != nil {
			t.Fatal(err)
		}
		exchange(t, c)
	}
}

// pieces cuts the first write.
type pieces struct {
	net.Conn
	size    int
	records bool
	done    bool
}

func (c *pieces) Write(p []byte) (int, error) {
	if c.done {
		return c.Conn.Write(p)
	}
	c.done = true
	rest := p
	if c.records {
		rest = p[recordHeader:]
	}
	for len(rest) > 0 {
		part := rest[:min(c.size, len(rest))]
		rest = rest[len(part):]
		if c.records {
			part = append([]byte{22, 3, 1, byte(len(part) >> 8), byte(len(part))}, part...)
		}
		if _, err := c.Conn.Write(part); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
