package tls

import "crypto/tls"

// QUIC returns the configuration of the same server for QUIC, which does the handshake by itself:
// certificates are followed as before, TLS is 1.3 and alpn is what is offered.
func (s *Server) QUIC(alpn ...string) *tls.Config {
	config := s.config.Clone()
	config.GetConfigForClient = nil // authorities come over TCP
	config.MinVersion, config.MaxVersion = tls.VersionTLS13, 0
	config.NextProtos = alpn
	return config
}

// Web returns the configuration of the same server for net/http.
func (s *Server) Web() *tls.Config {
	config := s.config.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	return config
}
