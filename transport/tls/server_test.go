package tls

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"heki/option"
)

func TestNewErrors(t *testing.T) {
	cert, key := newPEM(t, 1, "a.example")
	_, otherKey := newPEM(t, 2, "a.example")
	list := func(s ...string) option.Listable[string] { return s }
	for _, tt := range []struct {
		name string
		o    option.TLS
		want string
	}{
		{"nothing", option.TLS{}, "certificate or certificate_path is required"},
		{"no key", option.TLS{Certificate: list(cert)}, "key or key_path is required"},
		{"bad pair", option.TLS{Certificate: list(cert), Key: list(otherKey)}, "private key does not match"},
		{"no PEM", option.TLS{Certificate: list("x"), Key: list(key)}, "certificate and key: "},
		{"no file", option.TLS{CertificatePath: "/nonexistent", KeyPath: "/nonexistent"}, "read certificate: open /nonexistent"},
		{"version", option.TLS{MinVersion: "2"}, `min_version is "2", must be`},
		{"versions", option.TLS{MinVersion: "1.3", MaxVersion: "1.2"}, "min_version 1.3 is above"},
		{"cipher", option.TLS{CipherSuites: list("RC5")}, `cipher_suites: "RC5" is unknown`},
		{"curve", option.TLS{CurvePreferences: list("P1")}, `curve_preferences: "P1" is unknown`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(&tt.o, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
		})
	}
	o := &option.TLS{
		Certificate: strings.Split(cert, "\n"), Key: strings.Split(key, "\n"),
		MinVersion: "1.2", MaxVersion: "1.3",
		CipherSuites:     list("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA"),
		CurvePreferences: list("x25519", "P256"),
	}
	s, err := New(o, nil)
	if err != nil || len(s.config.CipherSuites) != 2 || len(s.config.CurvePreferences) != 2 {
		t.Errorf("full set: %v, %v", s, err)
	}
}

func TestProtocols(t *testing.T) {
	for _, tt := range []struct{ configured, needed, want string }{
		{"", "", ""},
		{"h2,http/1.1", "", "h2,http/1.1"},
		{"", "http/1.1", "http/1.1"},
		{"h2,http/1.1", "http/1.1", "http/1.1"},
		{"h2", "http/1.1", "http/1.1"},
		{"http/1.1,h2", "h2", "h2,http/1.1"},
		{"http/1.1", "h2,http/1.1", "h2,http/1.1"},
		{"foo", "http/1.1", "foo"},
	} {
		split := func(s string) []string {
			return slices.DeleteFunc(strings.Split(s, ","), func(s string) bool { return s == "" })
		}
		if got := strings.Join(protocols(split(tt.configured), split(tt.needed)), ","); got != tt.want {
			t.Errorf("protocols(%q, %q) = %q, want %q", tt.configured, tt.needed, got, tt.want)
		}
	}
}

func TestSNI(t *testing.T) {
	for _, tt := range []struct {
		name   string
		reject bool
		ok     bool
	}{
		{"a.example", true, true},
		{"A.Example", true, true},
		{"x.b.example", true, true},
		{"configured.example", true, true},
		{"x.example", true, false},
		{"old.example", true, false},
		{"x.example", false, true},
	} {
		a, b := tcpPair(t)
		s := newServer(t, func(o *option.TLS) {
			o.RejectUnknownSNI, o.ServerName = tt.reject, "configured.example"
		})
		go func() {
			if c, err := s.Handshake(context.Background(), b); err == nil {
				_ = c.Close()
			}
		}()
		err := tls.Client(a, &tls.Config{ServerName: tt.name, InsecureSkipVerify: true}).Handshake()
		if tt.ok != (err == nil) {
			t.Errorf("%+v: %v", tt, err)
		}
		if !tt.ok && (err == nil || err.Error() != "remote error: tls: unrecognized name") {
			t.Errorf("%+v: %v", tt, err)
		}
		_ = a.Close()
	}
}

func TestResume(t *testing.T) {
	s := newServer(t, nil)
	config := &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i := range 2 {
		client, server := connect(t, s, config)
		if got := server.ConnectionState().DidResume; got != (i == 1) {
			t.Errorf("connection %d: resumed = %v", i, got)
		}
		_, _ = server.Write([]byte("x")) // brings the ticket along
		_, _ = client.Read(make([]byte, 1))
	}
}

func TestFollowFiles(t *testing.T) {
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	write := func(path, s string) {
		if err := os.WriteFile(path+"~", []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+"~", path); err != nil { // another inode, as certbot does
			t.Fatal(err)
		}
	}
	cert1, key1 := newPEM(t, 1, "a.example")
	cert2, key2 := newPEM(t, 2, "a.example")
	write(certPath, cert1)
	write(keyPath, key1)
	synctest.Test(t, func(t *testing.T) {
		s, err := New(&option.TLS{CertificatePath: certPath, KeyPath: keyPath}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var reported []string
		s.ReportTo(func(err error) { reported = append(reported, err.Error()) })
		expect := func(step string, serial int64, reports int) {
			t.Helper()
			cert, err := s.keys.get(&tls.ClientHelloInfo{ServerName: "a.example"})
			if err != nil || cert.Leaf.SerialNumber.Int64() != serial || len(reported) != reports {
				t.Fatalf("%s: serial %v, %q, %v", step, cert.Leaf.SerialNumber, reported, err)
			}
		}
		expect("start", 1, 0)
		write(certPath, cert2)
		expect("too early", 1, 0)
		time.Sleep(checkEvery)
		expect("half replaced", 1, 1)
		time.Sleep(checkEvery)
		expect("told once", 1, 1)
		write(keyPath, key2)
		time.Sleep(checkEvery)
		expect("replaced", 2, 1)
		write(certPath, "garbage")
		time.Sleep(checkEvery)
		expect("broken", 2, 2)
		_ = os.Remove(certPath)
		time.Sleep(checkEvery)
		expect("gone", 2, 3)
		write(certPath, cert2)
		time.Sleep(checkEvery)
		expect("back", 2, 3)
	})
}

func TestHandshakeTimeout(t *testing.T) {
	a, b := tcpPair(t)
	s := newServer(t, func(o *option.TLS) { o.HandshakeTimeout = option.Duration(20 * time.Millisecond) })
	if _, err := s.Handshake(context.Background(), b); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silence: %v", err)
	}
	if _, err := a.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("client: %v", err)
	}
	a, b = tcpPair(t)
	_, _ = a.Write([]byte("GET / HT"))
	if _, err := newServer(t, nil).Handshake(context.Background(), b); !errors.Is(err, ErrPlainHTTP) {
		t.Errorf("half a request: %v", err)
	}
	_ = a.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, b = tcpPair(t)
	if _, err := newServer(t, nil).Handshake(ctx, b); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestPlainHTTP(t *testing.T) {
	for _, tt := range []struct {
		name, send, title string
		body              bool
	}{
		{"get", "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "400 The plain HTTP request was sent to HTTPS port", true},
		{"head", "HEAD / HTTP/1.0\r\n\r\n", "", false},
		{"garbage", "\x00\x01\x02\x03\x04garbage", "400 Bad Request", true},
		{"alert first", "\x15\x03\x01\x00\x02\x01\x00", "400 Bad Request", true},
		{"short garbage", "SSH-2.0-x\r\n", "400 Bad Request", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := tcpPair(t)
			done := make(chan error)
			go func() {
				_, err := newServer(t, nil).Handshake(context.Background(), b)
				done <- err
			}()
			_, _ = a.Write([]byte(tt.send))
			method := "GET"
			if !tt.body {
				method = "HEAD"
			}
			resp, err := http.ReadResponse(bufio.NewReader(a), &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 400 || resp.Header.Get("Server") != "nginx" || !resp.Close {
				t.Errorf("%v %v %v", resp.Status, resp.Header, err)
			}
			if !strings.Contains(string(body), "<title>"+tt.title+"</title>") != (tt.title == "") {
				t.Errorf("body = %q", body)
			}
			_ = a.Close()
			if err := <-done; !errors.Is(err, ErrPlainHTTP) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

// What starts like TLS and is not gets an alert or nothing, never a page.
func TestBadHello(t *testing.T) {
	for in, want := range map[string]string{
		"\x16\x99\x01\x02\x00garbage":              "",
		"\xffgarbage":                              "",
		"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00": "\x15\x03\x01\x00\x02\x02\x32", // decode_error
	} {
		a, b := tcpPair(t)
		go func() { _, _ = a.Write([]byte(in)) }()
		if _, err := newServer(t, nil).Handshake(context.Background(), b); err == nil || errors.Is(err, ErrPlainHTTP) {
			t.Errorf("%q: %v", in, err)
		}
		got, _ := io.ReadAll(a) // may end in a reset
		if string(got) != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		_ = a.Close()
	}
}

func TestPanic(t *testing.T) {
	s := newServer(t, nil)
	s.config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { panic("boom") }
	a, b := tcpPair(t)
	go func() { _ = tls.Client(a, &tls.Config{ServerName: "a.example"}).Handshake() }()
	if _, err := s.Handshake(context.Background(), b); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("err = %v", err)
	}
}

// 10 000 first flights that are no ClientHello, or damaged ones, end in an error and leave nothing.
func TestGarbage(t *testing.T) {
	hello := clientHello(t)
	s := newServer(t, func(o *option.TLS) { o.HandshakeTimeout = option.Duration(time.Minute) })
	before := runtime.NumGoroutine()
	for i := range 10_000 {
		a, b := net.Pipe()
		flight := slices.Clone(hello[:rand.IntN(len(hello))])
		switch i % 3 {
		case 1:
			flight = slices.Clone(hello)
			for range 1 + rand.IntN(8) {
				flight[rand.IntN(len(flight))] ^= byte(1 + rand.IntN(255))
			}
		case 2:
			for j := range flight {
				flight[j] = byte(rand.Uint32())
			}
		}
		go func() {
			_ = a.SetDeadline(time.Now().Add(time.Minute))
			go func() { _, _ = io.Copy(io.Discard, a) }()
			_, _ = a.Write(flight)
			_ = a.Close()
		}()
		if c, err := s.Handshake(context.Background(), b); err == nil {
			_ = c.Close()
			t.Fatalf("flight %d accepted", i)
		}
	}
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.Gosched()
	}
	// goleak in TestMain says which.
}

func clientHello(t *testing.T) []byte {
	t.Helper()
	a, b := net.Pipe()
	go func() { _ = tls.Client(a, &tls.Config{ServerName: "a.example"}).Handshake() }()
	p := make([]byte, 4096)
	n, err := b.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	return p[:n]
}
