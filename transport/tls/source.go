package tls

import (
	"crypto/tls"
	"errors"
	"net"

	"heki/option"
)

// Source has the certificates that stand in no file of the operator's: by ACME, or self-signed.
type Source interface {
	// Certificate checks what o asks for. It asks nobody for anything yet.
	Certificate(o *option.TLS) (Certificate, error)
	// Challenge returns the answer to an authority that looks whose a domain is; nil for anyone else.
	Challenge(hello *tls.ClientHelloInfo) *tls.Config
}

// Certificate is one that a Source looks after.
type Certificate interface {
	// Start begins to look after it, for somebody who listens on these addresses. It does not wait for a
	// certificate that has to be ordered.
	Start(listening []net.Addr) error
	// Stop ends that. The certificate stays readable.
	Stop()
	// Current returns the newest one, or nil while there is none. It is called for each handshake.
	Current() *tls.Certificate
}

// ErrNoCertificate says that the certificate is still to come.
var ErrNoCertificate = errors.New("there is no certificate yet")

// ErrChallenge says that an authority looked whose the domain is. It got its answer.
var ErrChallenge = errors.New("answered a challenge of a certificate authority")

// challengeProtocol is the ALPN of tls-alpn-01: RFC 8737 §6.2.
const challengeProtocol = "acme-tls/1"

// errNoSource: heki was built into something that has none.
var errNoSource = errors.New("acme and self_signed are not available here")

// NewFrom is New with certificates of source, which also answers authorities on the server's port. It may
// be nil. Start and Stop the server around listening.
func NewFrom(o *option.TLS, alpn []string, source Source) (*Server, error) {
	s, err := uncertified(o, alpn)
	if err != nil {
		return nil, err
	}
	if o.ACME == nil && !o.SelfSigned {
		s.keys, err = newKeyPair(o)
	} else if source == nil {
		err = errNoSource
	} else {
		s.keys, err = newOrdered(o, source)
	}
	if err != nil {
		return nil, err
	}
	s.config.GetCertificate = s.keys.get
	if source != nil {
		s.config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if p := hello.SupportedProtos; len(p) != 1 || p[0] != challengeProtocol {
				return nil, nil
			}
			return source.Challenge(hello), nil
		}
	}
	return s, nil
}

func newOrdered(o *option.TLS, source Source) (*keyPair, error) {
	cert, err := source.Certificate(o)
	if err != nil {
		return nil, err
	}
	k := &keyPair{serverName: o.ServerName, rejectUnknown: o.RejectUnknownSNI, ordered: cert}
	if o.ACME != nil {
		k.defaultName = o.ACME.DefaultServerName
	}
	return k, nil
}

// Start looks after the certificate, for somebody who listens on these addresses.
func (s *Server) Start(listening []net.Addr) error {
	if s.keys.ordered == nil {
		return nil
	}
	return s.keys.ordered.Start(listening)
}

// Stop ends what Start began. Handshakes go on with the certificate that is there.
func (s *Server) Stop() {
	if s.keys.ordered != nil {
		s.keys.ordered.Stop()
	}
}
