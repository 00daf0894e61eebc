package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// ProxyAddress is where a load balancer's connections come from: a client's come from Loopback.
const ProxyAddress = "127.0.0.9"

// LoadBalancer is how a HAProxy hands connections on to a server.
type LoadBalancer struct {
	Mode    string       // tcp, or http: it reads requests and adds X-Forwarded-For
	TLS     *Certificate // it ends the clients' TLS and takes HTTP/1.1 and HTTP/2; nil: it knows no TLS
	H2      bool         // HTTP/2 with prior knowledge to the server
	Options string       // of HAProxy's line "server"
}

// StartHAProxy runs Debian's HAProxy in front of the server at port, from which it dials as ProxyAddress,
// and returns its own port.
func StartHAProxy(t testing.TB, lb LoadBalancer, port uint16) (*Process, uint16) {
	t.Helper()
	dir, front := t.TempDir(), FreePort(t)
	bind := Address(front)
	if lb.TLS != nil {
		pem := filepath.Join(dir, "front.pem")
		if err := os.WriteFile(pem, []byte(lb.TLS.CertPEM+lb.TLS.KeyPEM), 0o600); err != nil {
			t.Fatal(err)
		}
		bind += " ssl crt " + pem + " alpn h2,http/1.1"
	}
	server := Address(port) + " source " + ProxyAddress + " " + lb.Options
	if lb.H2 {
		server += " proto h2"
	}
	forward := ""
	if lb.Mode == "http" {
		forward = "option forwardfor"
	}
	config := filepath.Join(dir, "haproxy.cfg")
	text := fmt.Sprintf(haproxyConfig, lb.Mode, forward, bind, server)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := Binary(HAProxy)
	if err != nil {
		t.Fatal(err)
	}
	p := Start(t, HAProxy, path, "-db", "-f", config)
	p.WaitPort(t, Address(front))
	return p, front
}

// haproxyConfig takes the mode, an option, where to listen, and the server.
//
// Its buffer is longer than HTTP/2's window of a stream (65535): HAProxy 2.6 stops reading a whole connection,
// window updates included, while one stream's buffer is full. Where it speaks HTTP/2 on both sides, a stream
// that is full both ways then stops both connections for ever: 34 to 115 KB wait unread on each of its
// sockets, and none on the client's and the server's. HAProxy's default buffer has 16384 bytes.
const haproxyConfig = `
global
	log stderr format raw daemon
	maxconn 500
	tune.bufsize 131072

defaults
	mode %s
	log global
	%s
	timeout connect 5s
	timeout client 10m
	timeout server 10m
	timeout tunnel 10m

listen heki
	bind %s
	server heki %s
`
