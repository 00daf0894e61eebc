package tls

import "crypto/tls"

// QUIC returns the configuration of the same server for QUIC, which does the handshake by itself:
// certificates are followed as before, TLS is 1.3 and alpn is what is offered.
func (s *Server) QUIC(alpn ...string) *tls.Config {
	config := s.config.Clone()
	config.MinVersion, config.MaxVersion = tls.VersionTLS13, 0
	config.NextProtos = alpn
	return config
}
