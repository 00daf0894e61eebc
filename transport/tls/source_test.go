package tls

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"heki/option"
)

// fakeSource has one certificate that comes when the test says.
type fakeSource struct {
	current   atomic.Pointer[tls.Certificate]
	challenge *tls.Config
	started   []net.Addr
	stopped   bool
}

func (f *fakeSource) Certificate(*option.TLS) (Certificate, error)     { return f, nil }
func (f *fakeSource) Challenge(hello *tls.ClientHelloInfo) *tls.Config { return f.challenge }
func (f *fakeSource) Start(listening []net.Addr) error                 { f.started = listening; return nil }
func (f *fakeSource) Stop()                                            { f.stopped = true }
func (f *fakeSource) Current() *tls.Certificate                        { return f.current.Load() }

func pairOf(t *testing.T, serial int64) *tls.Certificate {
	t.Helper()
	cert, key := newPEM(t, serial, "a.example")
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

// try shakes hands and returns the certificate's serial number and both sides' errors.
func try(t *testing.T, s *Server, config *tls.Config) (serial int64, client, server error) {
	t.Helper()
	a, b := tcpPair(t)
	done := make(chan error, 1)
	go func() {
		conn, err := s.Handshake(t.Context(), b)
		if err == nil {
			err = conn.Close()
		}
		done <- err
	}()
	c := tls.Client(a, config)
	client = c.HandshakeContext(t.Context())
	if client == nil {
		serial = c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	_ = a.Close()
	return serial, client, <-done
}

// A server without a certificate refuses until it comes, and takes the next one over.
func TestOrdered(t *testing.T) {
	source := new(fakeSource)
	o := &option.TLS{Enabled: true, RejectUnknownSNI: true, ACME: &option.ACME{Domain: []string{"a.example"}, DefaultServerName: "a.example"}}
	if _, err := New(o, nil); err == nil {
		t.Error("ACME without a source is no mistake")
	}
	s, err := NewFrom(o, nil, source)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start([]net.Addr{&net.TCPAddr{Port: 443}}); err != nil || len(source.started) != 1 {
		t.Fatalf("started with %v, %v", source.started, err)
	}
	config := &tls.Config{ServerName: "a.example", InsecureSkipVerify: true}
	if _, client, server := try(t, s, config); client == nil || !errors.Is(server, ErrNoCertificate) {
		t.Errorf("client %v, server %v", client, server)
	}
	for _, serial := range []int64{7, 8} {
		source.current.Store(pairOf(t, serial))
		if got, client, _ := try(t, s, config); client != nil || got != serial {
			t.Errorf("certificate %d, %v; want %d", got, client, serial)
		}
	}
	if _, client, _ := try(t, s, &tls.Config{InsecureSkipVerify: true}); client != nil {
		t.Errorf("without a name: %v; it stands for default_server_name", client)
	}
	if _, client, _ := try(t, s, &tls.Config{ServerName: "b.example", InsecureSkipVerify: true}); client == nil {
		t.Error("an unknown name is not refused")
	}
	if s.Stop(); !source.stopped {
		t.Error("not stopped")
	}
}

// An authority's look is answered on any server, and never reaches a protocol.
func TestChallengeAnswered(t *testing.T) {
	source := &fakeSource{challenge: &tls.Config{Certificates: []tls.Certificate{*pairOf(t, 9)}, NextProtos: []string{challengeProtocol}}}
	cert, key := newPEM(t, 1, "a.example")
	s, err := NewFrom(&option.TLS{Enabled: true, Certificate: []string{cert}, Key: []string{key}}, []string{"h2"}, source)
	if err != nil {
		t.Fatal(err)
	}
	serial, client, server := try(t, s, &tls.Config{ServerName: "a.example", NextProtos: []string{challengeProtocol}, InsecureSkipVerify: true})
	if client != nil || serial != 9 || !errors.Is(server, ErrChallenge) {
		t.Errorf("certificate %d, client %v, server %v", serial, client, server)
	}
	if serial, client, _ = try(t, s, &tls.Config{ServerName: "a.example", NextProtos: []string{"h2", challengeProtocol}, InsecureSkipVerify: true}); client != nil || serial != 1 {
		t.Errorf("a client that offers more gets certificate %d, %v", serial, client)
	}
	if s.QUIC("h3").GetConfigForClient != nil {
		t.Error("QUIC answers challenges, which come over TCP")
	}
}
