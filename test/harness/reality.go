package harness

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// TargetPage is what REALITY's target says to those who ask it.
const TargetPage = "the page of the target\n"

// Reality is what a server and its clients agree on, and the target: a site with TLS 1.3 and HTTP/2 whose
// certificate is for ServerName.
type Reality struct {
	Private, Public string
	ShortID         string
	Target          uint16 // port of 127.0.0.1
	Certificate     *Certificate
}

// StartReality starts a target, which exchanges keys by curves, or as Go does, and makes keys.
func StartReality(t testing.TB, curves ...tls.CurveID) *Reality {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := NewCertificate(t)
	pair, err := tls.X509KeyPair([]byte(cert.CertPEM), []byte(cert.KeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, TargetPage)
	}))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, CurvePreferences: curves}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // every user leaves in the middle of a handshake
	s.StartTLS()
	t.Cleanup(s.Close)
	return &Reality{
		Private: base64.RawURLEncoding.EncodeToString(key.Bytes()),
		Public:  base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()),
		ShortID: "0123456789abcdef", Certificate: cert,
		Target: uint16(s.Listener.Addr().(*net.TCPAddr).Port),
	}
}

// inbound is "tls" of the server, in the words of sing-box.
func (r *Reality) inbound() JSON {
	return JSON{"enabled": true, "server_name": ServerName, "reality": JSON{
		"enabled": true, "private_key": r.Private, "short_id": []string{r.ShortID}, "max_time_difference": "1m",
		"handshake": JSON{"server": Loopback, "server_port": r.Target},
	}}
}

// fingerprint of a lane: REALITY has no client without one.
func fingerprint(lane Lane) string {
	if lane.UTLS == "" {
		return "chrome"
	}
	return lane.UTLS
}

func (r *Reality) singBox(lane Lane) JSON {
	return JSON{
		"enabled": true, "server_name": ServerName,
		"utls":    JSON{"enabled": true, "fingerprint": fingerprint(lane)},
		"reality": JSON{"enabled": true, "public_key": r.Public, "short_id": r.ShortID},
	}
}

func (r *Reality) xray(lane Lane) JSON {
	return JSON{"serverName": ServerName, "fingerprint": fingerprint(lane), "publicKey": r.Public, "shortId": r.ShortID, "spiderX": "/"}
}

func (r *Reality) mihomo(out JSON, lane Lane) {
	out["client-fingerprint"] = fingerprint(lane)
	out["reality-opts"] = JSON{"public-key": r.Public, "short-id": r.ShortID}
}

// StartTap passes connections on to port and records the first flight of the first one, which the
// second result returns.
func StartTap(t testing.TB, port uint16) (at uint16, recorded func() []byte) {
	t.Helper()
	l, err := net.Listen("tcp", Loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan []byte, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { pass(conn, Address(port), first) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return PortOf(l.Addr()), func() []byte { return <-first }
}

// pass joins conn with address until one of both ends.
func pass(conn net.Conn, address string, first chan<- []byte) {
	defer conn.Close()
	remote, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer remote.Close()
	flight := make([]byte, 16<<10)
	n, err := conn.Read(flight)
	if err != nil {
		return
	}
	select {
	case first <- flight[:n]:
	default:
	}
	remote.Write(flight[:n])
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(conn, remote)
		conn.Close()
	}()
	io.Copy(remote, conn)
	remote.Close()
	<-done
}
