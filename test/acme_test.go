package test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"heki/panel/paneltest"
	"heki/test/harness"
)

// certTimeout bounds the wait for a certificate: heki asks again 30 s after a failure.
const certTimeout = 2 * time.Minute

// trojanACME is an inbound that orders its certificate.
func trojanACME(tag string, port uint16, ca *harness.CA, domain string, more harness.JSON) harness.JSON {
	acme := harness.JSON{"domain": domain, "provider": ca.Directory}
	maps.Copy(acme, more)
	return harness.JSON{
		"type": "trojan", "tag": tag, "listen": harness.Loopback, "listen_port": port,
		"users": []harness.JSON{{"name": "alice", "password": harness.Users()[0].Password}},
		"tls":   harness.JSON{"enabled": true, "server_name": domain, "acme": acme},
	}
}

func acmeConfig(t testing.TB, state string, inbounds ...harness.JSON) string {
	t.Helper()
	return harness.WriteConfig(t, harness.JSON{"log": harness.JSON{"level": "debug"}, "state_dir": state, "inbounds": inbounds})
}

// shown is the certificate that a server shows for name, or why it shows none.
func shown(port uint16, name string) (*x509.Certificate, error) {
	conn, err := tls.Dial("tcp", harness.Address(port), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// awaitCert waits until the server shows a certificate for which want is true.
func awaitCert(t testing.TB, port uint16, name string, want func(*x509.Certificate) bool) *x509.Certificate {
	t.Helper()
	deadline := time.After(certTimeout)
	for {
		cert, err := shown(port, name)
		if err == nil && want(cert) {
			return cert
		}
		select {
		case <-deadline:
			t.Fatalf("no certificate of %s on port %d after %s: %v", name, port, certTimeout, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func anyCert(*x509.Certificate) bool { return true }

// Each way to show whose a domain is; the private files; and a restart that orders nothing.
func TestACME(t *testing.T) {
	harness.Twice(t, testACME)
}

func testACME(t testing.TB) {
	ca := harness.NewCA(t, 24*time.Hour)
	ca.Start(t)
	ports := []uint16{harness.FreePort(t), ca.TLSPort, harness.FreePort(t), harness.FreePort(t)}
	names := []string{"http.heki.test", "alpn.heki.test", "*.dns.heki.test", "http.heki.test"}
	byHTTP := harness.JSON{"disable_tls_alpn_challenge": true, "alternative_http_port": ca.HTTPPort}
	const secret = "the password of the DNS"
	inbounds := []harness.JSON{
		trojanACME("http", ports[0], ca, names[0], byHTTP),
		trojanACME("alpn", ports[1], ca, names[1], harness.JSON{"disable_http_challenge": true, "alternative_tls_port": ca.TLSPort, "key_type": "rsa-2048"}),
		trojanACME("dns", ports[2], ca, names[2], harness.JSON{"email": "ops@heki.test", "dns01_challenge": harness.JSON{
			"provider": "httpreq", "env": harness.JSON{"HTTPREQ_ENDPOINT": ca.Records(t), "HTTPREQ_USERNAME": "u", "HTTPREQ_PASSWORD": secret}, "resolvers": ca.DNS,
		}}),
		trojanACME("http again", ports[3], ca, names[3], byHTTP),
	}
	inbounds[2]["tls"].(harness.JSON)["server_name"] = "www.dns.heki.test"
	state := t.TempDir()
	config := acmeConfig(t, state, inbounds...)
	heki := ca.Heki(t, config)
	serials := make(map[int]string)
	root := ca.Root(t)
	for i, port := range ports {
		name := strings.Replace(names[i], "*", "www", 1)
		cert := awaitCert(t, port, name, anyCert)
		if err := cert.VerifyHostname(name); err != nil {
			t.Error(err)
		}
		serials[i] = cert.SerialNumber.String()
		conn, err := tls.Dial("tcp", harness.Address(port), &tls.Config{ServerName: name, RootCAs: root.Pool})
		if err != nil { // the chain is whole
			t.Errorf("%s: %v", name, err)
			continue
		}
		conn.Close()
	}
	if serials[0] != serials[3] {
		t.Error("two nodes of one name have two certificates")
	}
	if strings.Contains(heki.Log(), secret) {
		t.Error("the log holds the password of the DNS")
	}
	checkModes(t, filepath.Join(state, "acme"))
	if code, err := heki.Stop(); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v", code, err)
	}
	if _, err := ca.Stop(); err != nil { // the restart must do without
		t.Fatal(err)
	}
	ca.Heki(t, config).WaitLog(t, "certificate kept from before")
	for i, port := range ports {
		cert := awaitCert(t, port, strings.Replace(names[i], "*", "www", 1), anyCert)
		if cert.SerialNumber.String() != serials[i] {
			t.Errorf("%s: another certificate after a restart", names[i])
		}
	}
}

// checkModes: keys are for heki alone.
func checkModes(t testing.TB, dir string) {
	t.Helper()
	files := 0
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		files++
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || files < 4 { // an account or two, three certificates
		t.Errorf("%d files, %v", files, err)
	}
}

// A certificate is renewed while a connection lives on, and a new client sees the new one.
func TestACMERenewal(t *testing.T) {
	harness.Twice(t, func(t testing.TB) {
		ca := harness.NewCA(t, 30*time.Second)
		ca.Start(t)
		port := harness.FreePort(t)
		const name = "short.heki.test"
		ca.Heki(t, acmeConfig(t, t.TempDir(), trojanACME("in", port, ca, name, harness.JSON{"disable_tls_alpn_challenge": true, "alternative_http_port": ca.HTTPPort})))
		first := awaitCert(t, port, name, anyCert)
		raw := harness.Raw{Road: harness.Road{Protocol: "trojan", TLS: true}, User: harness.Users()[0], Server: harness.Address(port), TLS: &tls.Config{ServerName: name, InsecureSkipVerify: true}}
		echo := echoServer(t)
		ctx, cancel := context.WithTimeout(context.Background(), certTimeout)
		defer cancel()
		conn, err := raw.Dial(ctx, echo)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		say(t, conn, "before")
		awaitCert(t, port, name, func(c *x509.Certificate) bool { return c.SerialNumber.Cmp(first.SerialNumber) != 0 })
		say(t, conn, "after")
	})
}

// An authority that is down holds up neither the start nor other inbounds, and is asked again.
func TestACMEDown(t *testing.T) {
	harness.Twice(t, func(t testing.TB) {
		ca := harness.NewCA(t, 24*time.Hour)
		port, other := harness.FreePort(t), harness.FreePort(t)
		const name = "late.heki.test"
		cert := harness.NewCertificate(t)
		p := ca.Heki(t, acmeConfig(t, t.TempDir(),
			trojanACME("late", port, ca, name, harness.JSON{"disable_tls_alpn_challenge": true, "alternative_http_port": ca.HTTPPort}),
			harness.Road{Protocol: "trojan", TLS: true}.Inbound(other, cert, harness.Users())))
		p.WaitPort(t, harness.Address(port))
		p.WaitPort(t, harness.Address(other))
		awaitCert(t, other, harness.ServerName, anyCert)
		if _, err := shown(port, name); err == nil {
			t.Fatal("a certificate without an authority")
		}
		p.WaitLog(t, "clients are refused until it is here")
		p.WaitLog(t, "next_try")
		ca.Start(t)
		awaitCert(t, port, name, anyCert)
	})
}

// A panel that orders certificates, by ACME and self-signed ones, and real clients of its nodes.
func TestACMEPanel(t *testing.T) {
	harness.Twice(t, func(t testing.TB) {
		ca := harness.NewCA(t, 24*time.Hour)
		ca.Start(t)
		panel, err := paneltest.Start(paneltest.New("token of the test"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(panel.Close)
		panel.SetUser(paneltest.User{ID: 11, UUID: paneltest.NewUUID()})
		const config = `{"protocol":"trojan","listen_ip":"127.0.0.1","server_port":%d,"network":"tcp","networkSettings":null,"host":"heki.test","server_name":"heki.test","multiplex":null,"tls":1,"tls_settings":{"server_name":"heki.test","allow_insecure":false,"ech":null},"cert_config":%s,"base_config":{"push_interval":60,"pull_interval":60}}`
		byHTTP, bySelf := harness.FreePort(t), harness.FreePort(t)
		for id, row := range map[int]string{
			1: fmt.Sprintf(config, byHTTP, `{"cert_mode":"http","domain":"heki.test"}`),
			2: fmt.Sprintf(config, bySelf, `{"cert_mode":"self","reject_unknown_sni":"1"}`),
		} {
			panel.SetRawConfig(id, row)
		}
		state := t.TempDir()
		path := harness.WriteConfig(t, harness.JSON{"log": harness.JSON{"level": "debug"}, "state_dir": state, "panels": []harness.JSON{{
			"name": "main", "type": "xboard", "url": panel.URL, "key": panel.Token(),
			"nodes": []harness.JSON{
				{"id": 1, "tls": harness.JSON{"acme": harness.JSON{"provider": ca.Directory, "alternative_http_port": ca.HTTPPort}}},
				{"id": 2},
			},
		}}})
		heki := ca.Heki(t, path)
		awaitCert(t, byHTTP, harness.ServerName, anyCert)
		self := awaitCert(t, bySelf, harness.ServerName, anyCert)
		if _, err := shown(bySelf, "other.test"); err == nil {
			t.Error("reject_unknown_sni is not honoured")
		}
		pinned := filepath.Join(t.TempDir(), "self.pem")
		if err := os.WriteFile(pinned, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: self.Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		user := account(panel.Users()[0])
		target := harness.StartTargets(t)
		road := harness.Road{Protocol: "trojan", TLS: true}
		for port, cert := range map[uint16]*harness.Certificate{byHTTP: ca.Root(t), bySelf: {CAPath: pinned}} {
			client := harness.StartClient(t, harness.SingBox, road, port, cert, harness.Lane{Name: "a", User: user})
			harness.CheckTCP(t, client.Socks("a"), target, 64<<10)
		}
		if code, err := heki.Stop(); code != 0 || err != nil {
			t.Fatalf("exit code %d, %v", code, err)
		}
		ca.Heki(t, path)
		again := awaitCert(t, bySelf, harness.ServerName, anyCert)
		if again.SerialNumber.Cmp(self.SerialNumber) != 0 {
			t.Error("another self-signed certificate after a restart: clients that pin it are cut off")
		}
	})
}

// echoServer sends back what it is sent, and returns its address.
func echoServer(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", harness.Loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().String()
}

// say sends word over an echoing connection and hears it again.
func say(t testing.TB, conn harness.Duplex, word string) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, word); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != word {
		t.Fatalf("sent %q, got %q, %v", word, got, err)
	}
}
