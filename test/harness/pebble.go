package harness

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// CA is Pebble, a real certificate authority, and the DNS that it believes: every name is 127.0.0.1.
type CA struct {
	*Process
	Directory string // URL
	Trust     *Certificate
	DNS       string // host:port
	HTTPPort  uint16 // where it looks for http-01
	TLSPort   uint16 // and for tls-alpn-01

	config     string
	management string
	records    string
}

// NewCA prepares an authority whose certificates live that long. Start runs it.
func NewCA(t testing.TB, life time.Duration) *CA {
	t.Helper()
	c := &CA{Trust: NewCertificate(t), HTTPPort: FreePort(t), TLSPort: FreePort(t), DNS: Address(FreePort(t))}
	listen := Address(FreePort(t))
	c.Directory, c.management = "https://"+listen+"/dir", Address(FreePort(t))
	c.config = WriteConfig(t, JSON{"pebble": JSON{
		"listenAddress": listen, "managementListenAddress": c.management,
		"certificate": c.Trust.CertPath, "privateKey": c.Trust.KeyPath,
		"httpPort": c.HTTPPort, "tlsPort": c.TLSPort, "keyAlgorithm": "ecdsa",
		"retryAfter": JSON{"authz": 1, "order": 1},
		"profiles":   JSON{"default": JSON{"description": "test", "validityPeriod": int(life.Seconds())}},
	}})
	c.records = Address(FreePort(t))
	return c
}

// Start runs the authority.
func (c *CA) Start(t testing.TB) {
	t.Helper()
	fake, err := Binary(PebbleFake)
	if err != nil {
		t.Fatal(err)
	}
	pebble, err := Binary(Pebble)
	if err != nil {
		t.Fatal(err)
	}
	names := Start(t, PebbleFake, fake, "-dns01", c.DNS, "-management", c.records, "-defaultIPv4", Loopback, "-defaultIPv6", "",
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "")
	names.WaitPort(t, c.records)
	c.Process = Start(t, Pebble, "/usr/bin/env", "PEBBLE_VA_NOSLEEP=1", pebble, "-config", c.config, "-dnsserver", c.DNS, "-strict")
	c.WaitPort(t, strings.TrimSuffix(strings.TrimPrefix(c.Directory, "https://"), "/dir"))
}

// Heki runs heki with a configuration file, trusting the authority's own certificate.
func (c *CA) Heki(t testing.TB, config string) *Process {
	t.Helper()
	path, err := HekiBinary()
	if err != nil {
		t.Fatal(err)
	}
	return Start(t, Heki, "/usr/bin/env", "SSL_CERT_FILE="+c.Trust.CAPath, "LEGO_DISABLE_CNAME_SUPPORT=true", path, "run", "-c", config)
}

// Root is a certificate for clients: whom to trust to trust what the authority has issued.
func (c *CA) Root(t testing.TB) *Certificate {
	t.Helper()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.Trust.Pool}, DisableKeepAlives: true}}
	answer, err := client.Get("https://" + c.management + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	pem, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(path, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	root := &Certificate{CAPath: path, Pool: c.Trust.Pool.Clone()}
	root.Pool.AppendCertsFromPEM(pem)
	return root
}

// Records is lego's httpreq: it puts what it is told into the authority's DNS. It returns its URL.
func (c *CA) Records(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", Loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := map[string]string{"/present": "/set-txt", "/cleanup": "/clear-txt"}[r.URL.Path]
		body, err := io.ReadAll(r.Body)
		if call == "" || err != nil {
			http.NotFound(w, r)
			return
		}
		told := strings.Replace(string(body), `"fqdn"`, `"host"`, 1)
		answer, err := http.Post("http://"+c.records+call, "application/json", strings.NewReader(told))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		answer.Body.Close()
		w.WriteHeader(answer.StatusCode)
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return "http://" + l.Addr().String()
}
