package demo

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"heki/panel"
	"heki/panel/paneltest"
)

const shortID = "0123456789abcdef"

// target is the site whose handshake the REALITY node borrows, and the keys of that node.
type target struct {
	server          *http.Server
	port            int
	private, public string
}

// newTarget starts a site on loopback with the demo's certificate.
func newTarget(dir string) (*target, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, certFile), filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	site := &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}},
		ErrorLog:          log.New(io.Discard, "", 0), // each user leaves in the middle of a handshake
		Handler: http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(out, "This is the site that those see who are no users.\n")
		}),
	}
	go site.ServeTLS(l, "", "")
	return &target{
		server:  site,
		port:    l.Addr().(*net.TCPAddr).Port,
		private: base64.RawURLEncoding.EncodeToString(key.Bytes()),
		public:  base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()),
	}, nil
}

func (t *target) close() { _ = t.server.Close() }

// node makes n VLESS with REALITY and Vision.
func (t *target) node(n paneltest.Node) paneltest.Node {
	n.TLS, n.ServerName, n.Flow = 2, serverName, panel.FlowVision
	n.PrivateKey, n.ShortID = t.private, shortID
	return n
}

// client is "tls" of a sing-box client.
func (t *target) client(n paneltest.Node) map[string]any {
	return map[string]any{
		"enabled": true, "server_name": n.ServerName,
		"utls":    map[string]any{"enabled": true, "fingerprint": "chrome"},
		"reality": map[string]any{"enabled": true, "public_key": t.public, "short_id": n.ShortID},
	}
}

// link is the URI that clients import.
func (w *world) link(n paneltest.Node, u paneltest.User) string {
	if n.TLS != 2 {
		return shareLink(n, u, w.names[u.ID])
	}
	return (&url.URL{
		Scheme: n.Protocol, User: url.User(u.UUID), Host: address(n),
		RawQuery: url.Values{
			"encryption": {"none"}, "type": {"tcp"}, "flow": {n.Flow}, "security": {"reality"},
			"sni": {n.ServerName}, "fp": {"chrome"}, "pbk": {w.target.public}, "sid": {n.ShortID},
		}.Encode(),
		Fragment: fmt.Sprintf("%s-%d-%s", n.Protocol, n.ID, w.names[u.ID]),
	}).String()
}
