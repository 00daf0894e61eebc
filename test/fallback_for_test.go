package test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"heki/test/harness"
)

// startSite serves a web site over plain TCP, HTTP/1 and HTTP/2 alike, that says its name, the version and
// the path of every request, and returns it as a fallback.
func startSite(t testing.TB, name string) harness.JSON {
	t.Helper()
	l, err := net.Listen("tcp", harness.Loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{
		ReadHeaderTimeout: time.Minute, Protocols: new(http.Protocols),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s %s", name, r.Proto, r.URL.Path)
		}),
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return harness.JSON{"server": harness.Loopback, "server_port": harness.PortOf(l.Addr())}
}

// browser is a web client of the server at port that speaks one version of HTTP.
func browser(t testing.TB, cert *harness.Certificate, port uint16, h2 bool) func(path string) string {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: cert.Pool, ServerName: harness.ServerName},
		Protocols:       new(http.Protocols),
	}
	transport.Protocols.SetHTTP1(!h2)
	transport.Protocols.SetHTTP2(h2)
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: patience}
	return func(path string) string {
		t.Helper()
		answer, err := client.Get("https://" + harness.Address(port) + path)
		if err != nil {
			t.Error(err)
			return ""
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Error(err)
		}
		return string(body)
	}
}

// TestFallbackFor lets browsers in whom ALPN and path send to different sites, and a real client of another
// inbound behind a path: one port for both, as operators have it with Xray's fallbacks.
func TestFallbackFor(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"vless", "trojan", "vmess"} {
		harness.Cell(t, protocol, func(t testing.TB) {
			cert, port, inner := harness.NewCertificate(t), harness.FreePort(t), harness.FreePort(t)
			road := harness.Road{Protocol: protocol, TLS: true}
			in := road.Inbound(port, cert, harness.Users())
			in["tls"].(harness.JSON)["alpn"] = []string{"h2", "http/1.1"}
			in["fallback"] = startSite(t, "usual")
			in["fallback_for_alpn"] = harness.JSON{"h2": startSite(t, "h2")}
			in["fallback_for_path"] = harness.JSON{
				"/blog/":     startSite(t, "blog"),
				"/shop":      startSite(t, "shop"),
				harness.Path: harness.JSON{"server": harness.Loopback, "server_port": inner},
			}
			behind := harness.Road{Protocol: "vmess", Transport: "ws"}
			hidden := behind.Inbound(inner, nil, harness.Users())
			hidden["tag"] = "hidden"
			harness.StartServer(t, in, hidden)

			for _, tt := range []struct{ path, h1, h2 string }{
				{"/", "usual HTTP/1.1 /", "h2 HTTP/2.0 /"},
				{"/shop", "shop HTTP/1.1 /shop", "h2 HTTP/2.0 /shop"},
				{"/shop?a=/blog/", "shop HTTP/1.1 /shop", "h2 HTTP/2.0 /shop"},
				{"/shopping", "usual HTTP/1.1 /shopping", "h2 HTTP/2.0 /shopping"},
				{"/blog/a/b", "blog HTTP/1.1 /blog/a/b", "h2 HTTP/2.0 /blog/a/b"},
			} {
				// A browser of its own for each: a connection stays with the site of its first request.
				if got := browser(t, cert, port, false)(tt.path); got != tt.h1 {
					t.Errorf("HTTP/1 %s: %q, want %q", tt.path, got, tt.h1)
				}
				if got := browser(t, cert, port, true)(tt.path); got != tt.h2 {
					t.Errorf("HTTP/2 %s: %q, want %q", tt.path, got, tt.h2)
				}
			}

			targets := harness.StartTargets(t)
			user := harness.Lane{Name: "user", User: harness.Users()[0], Encoding: "xudp"}
			direct := harness.StartClient(t, harness.SingBox, road, port, cert, user)
			harness.CheckParallel(t, direct.Socks("user"), targets, 5)
			behind.TLS = true
			hiding := harness.StartClient(t, harness.SingBox, behind, port, cert, user)
			harness.Part(t, "behind a path", func(t testing.TB) {
				harness.CheckTCP(t, hiding.Socks("user"), targets, small)
				harness.CheckParallel(t, hiding.Socks("user"), targets, 40)
				harness.CheckUDP(t, hiding.Socks("user"), targets, harness.Full)
			})
		})
	}
}
