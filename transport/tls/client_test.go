package tls

import (
	"context"
	"crypto/tls"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"heki/option"
)

// reach shakes hands with a server whose certificate is of a.example and *.b.example; change gets the
// client's options, the certificate among them.
func reach(t *testing.T, server string, alpn []string, change func(*option.ClientTLS)) (client, peer *Conn, err error) {
	t.Helper()
	cert, key := newPEM(t, 1, "a.example", "*.b.example")
	s, err := New(&option.TLS{Certificate: option.Listable[string]{cert}, Key: option.Listable[string]{key}}, []string{"h2", "http/1.1"})
	if err != nil {
		t.Fatal(err)
	}
	o := &option.ClientTLS{Enabled: true, Certificate: option.Listable[string]{cert}}
	if change != nil {
		change(o)
	}
	if err := o.Validate("tls"); err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(o, server, alpn)
	if err != nil {
		t.Fatal(err)
	}
	a, b := tcpPair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		peer, _ = s.Handshake(context.Background(), b)
	}()
	client, err = c.Handshake(t.Context(), a)
	<-done
	return client, peer, err
}

func TestClient(t *testing.T) {
	for _, tt := range []struct {
		name, server, sni string
		change            func(*option.ClientTLS)
	}{
		{"its server's name", "a.example", "a.example", nil},
		{"a trailing dot", "a.example.", "a.example", nil},
		{"server_name", "192.0.2.1", "x.b.example", func(o *option.ClientTLS) { o.ServerName = "x.b.example" }},
		{"disable_sni", "a.example", "", func(o *option.ClientTLS) { o.DisableSNI = true }},
		{"insecure", "other.example", "other.example", func(o *option.ClientTLS) { o.Insecure = true }},
		{"insecure without sni", "other.example", "", func(o *option.ClientTLS) { o.Insecure, o.DisableSNI = true, true }},
		{"TLS 1.2", "a.example", "a.example", func(o *option.ClientTLS) { o.MaxVersion = "1.2" }},
		{"a curve", "a.example", "a.example", func(o *option.ClientTLS) { o.CurvePreferences = []string{"P384"} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, peer, err := reach(t, tt.server, nil, tt.change)
			if err != nil {
				t.Fatal(err)
			}
			if got := peer.ConnectionState().ServerName; got != tt.sni {
				t.Errorf("sent the name %q, want %q", got, tt.sni)
			}
			talk(t, client, peer)
		})
	}
}

// talk moves a megabyte each way, in the ways that a relay reads.
func talk(t *testing.T, client, peer *Conn) {
	t.Helper()
	payload := strings.Repeat("0123456789abcdef", 1<<16)
	for _, way := range [][2]*Conn{{client, peer}, {peer, client}} {
		done := make(chan error, 1)
		go func() {
			_, err := io.WriteString(way[0], payload)
			done <- err
		}()
		got := make([]byte, len(payload))
		if _, err := io.ReadFull(way[1], got); err != nil || string(got) != payload {
			t.Fatalf("read %v, the same %v", err, string(got) == payload)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestClientRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		server string
		change func(*option.ClientTLS)
	}{
		"another name":             {"other.example", nil},
		"another name without sni": {"other.example", func(o *option.ClientTLS) { o.DisableSNI = true }},
		"unknown authority":        {"a.example", func(o *option.ClientTLS) { o.Certificate = nil }},
		"an address":               {"192.0.2.1", nil},
		"a browser":                {"other.example", func(o *option.ClientTLS) { o.UTLS = &option.UTLS{Enabled: true} }},
	} {
		if _, _, err := reach(t, tt.server, nil, tt.change); err == nil || !strings.Contains(err.Error(), "tls handshake") || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v, want an error about the certificate", name, err)
		}
	}
}

func TestClientFingerprints(t *testing.T) {
	for _, fingerprint := range []string{"chrome", "firefox", "edge", "safari", "360", "qq", "ios", "android", "random", "randomized"} {
		for protocol, alpn := range map[string][]string{"http/1.1": {"http/1.1"}, "h2": {"h2"}} {
			t.Run(fingerprint+"/"+protocol, func(t *testing.T) {
				client, peer, err := reach(t, "a.example", alpn, func(o *option.ClientTLS) {
					o.UTLS = &option.UTLS{Enabled: true, Fingerprint: fingerprint}
				})
				if err != nil {
					t.Fatal(err)
				}
				state := peer.ConnectionState()
				if state.ServerName != "a.example" || fingerprint != "360" && fingerprint != "android" && state.NegotiatedProtocol != protocol {
					t.Errorf("name %q, protocol %q", state.ServerName, state.NegotiatedProtocol)
				}
				if client.ConnectionState().Version < tls.VersionTLS12 {
					t.Errorf("version %x", client.ConnectionState().Version)
				}
				talk(t, client, peer)
			})
		}
	}
}

// Whatever is drawn, a server that prefers a group with which the hello could not begin is reached.
func TestClientRandomized(t *testing.T) {
	for range 16 { // one in three was not
		client, peer, err := reach(t, "a.example", []string{"h2"}, func(o *option.ClientTLS) {
			o.UTLS = &option.UTLS{Enabled: true, Fingerprint: "randomized"}
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := peer.ConnectionState().NegotiatedProtocol; got != "h2" {
			t.Errorf("protocol %q", got)
		}
		_, _ = client.Close(), peer.Close()
	}
}

func TestClientBrowserHidesName(t *testing.T) {
	_, peer, err := reach(t, "a.example", nil, func(o *option.ClientTLS) {
		o.DisableSNI, o.UTLS = true, &option.UTLS{Enabled: true}
	})
	if err != nil || peer.ConnectionState().ServerName != "" {
		t.Errorf("%v, %+v", err, peer)
	}
}

func TestNewClientErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]*option.ClientTLS{
		"certificate_path: open":                  {CertificatePath: filepath.Join(t.TempDir(), "none.pem")},
		"certificate_path: holds no certificate":  {CertificatePath: file},
		"certificate: holds no certificate":       {Certificate: []string{"nothing"}},
		"min_version":                             {MinVersion: "9"},
		"max_version":                             {MaxVersion: "9"},
		"cipher_suites":                           {CipherSuites: []string{"x"}},
		"curve_preferences":                       {CurvePreferences: []string{"x"}},
		`utls: fingerprint "netscape" is unknown`: {UTLS: &option.UTLS{Enabled: true, Fingerprint: "netscape"}},
	} {
		if _, err := NewClient(o, "a.example", nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("err = %v, want one with %q", err, want)
		}
	}
}

// A server that says nothing is left in time.
func TestClientTimeout(t *testing.T) {
	c, err := NewClient(&option.ClientTLS{}, "a.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := tcpPair(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrNoProgress)
	if _, err := c.Handshake(ctx, a); err == nil || !strings.Contains(err.Error(), io.ErrNoProgress.Error()) {
		t.Errorf("err = %v, want the cause", err)
	}
}
