// Package tls is both sides of TLS: a server's handshakes with certificates that are followed on disk, a
// client's as a browser does them, and connections that hold no buffer while they wait.
package tls

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
	"unsafe"

	"heki/constant"
	"heki/internal/netio"
	"heki/option"
	"heki/transport/internal/http1"
)

// ErrPlainHTTP says that a client spoke something else than TLS. It got the answer of a web server.
var ErrPlainHTTP = errors.New("plain request on a TLS port")

// Server shakes hands for one inbound. Its methods are safe for concurrent use.
type Server struct {
	config  *tls.Config
	timeout time.Duration
	keys    *keyPair
}

// New prepares a server. alpn is what the transport needs: it is used when o names none. Else "h2" is
// dropped from o's list unless alpn has it, because the first protocol that both know is chosen, and
// put first if alpn has it.
func New(o *option.TLS, alpn []string) (*Server, error) { return NewFrom(o, alpn, nil) }

// uncertified is New without the certificate.
func uncertified(o *option.TLS, alpn []string) (*Server, error) {
	config := &tls.Config{
		NextProtos: protocols(o.ALPN, alpn),
		// Full records from the first byte, as nginx sends them: less work, and no mark of Go.
		DynamicRecordSizingDisabled: true,
	}
	var err error
	if config.MinVersion, err = version("min_version", o.MinVersion); err != nil {
		return nil, err
	}
	if config.MaxVersion, err = version("max_version", o.MaxVersion); err != nil {
		return nil, err
	}
	if config.MaxVersion != 0 && config.MinVersion > config.MaxVersion {
		return nil, fmt.Errorf("min_version %s is above max_version %s", o.MinVersion, o.MaxVersion)
	}
	if config.CipherSuites, err = ciphers(o.CipherSuites); err != nil {
		return nil, err
	}
	if config.CurvePreferences, err = curves(o.CurvePreferences); err != nil {
		return nil, err
	}
	timeout := time.Duration(o.HandshakeTimeout)
	if timeout <= 0 {
		timeout = constant.HandshakeTimeout
	}
	return &Server{config: config, timeout: timeout}, nil
}

// ReportTo makes errors of following certificate files go to report instead of slog's default
// logger. Call it before the first Handshake.
func (s *Server) ReportTo(report func(error)) { s.keys.report = report }

// protocols returns what is offered in ALPN, most wanted first.
func protocols(configured, needed []string) []string {
	if len(needed) == 0 {
		return configured
	}
	kept := slices.DeleteFunc(slices.Clone(configured), func(p string) bool {
		return p == "h2" && !slices.Contains(needed, p)
	})
	if len(kept) == 0 {
		return needed
	}
	if slices.Contains(needed, "h2") {
		kept = append([]string{"h2"}, slices.DeleteFunc(kept, func(p string) bool { return p == "h2" })...)
	}
	return kept
}

func version(key, name string) (uint16, error) {
	switch strings.TrimPrefix(strings.ToLower(name), "tls") {
	case "":
		return 0, nil
	case "1.0":
		return tls.VersionTLS10, nil
	case "1.1":
		return tls.VersionTLS11, nil
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("%s is %q, must be 1.0, 1.1, 1.2 or 1.3", key, name)
}

func ciphers(names []string) ([]uint16, error) {
	var ids []uint16
	known := append(tls.CipherSuites(), tls.InsecureCipherSuites()...)
	for _, name := range names {
		i := slices.IndexFunc(known, func(s *tls.CipherSuite) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("cipher_suites: %q is unknown, use names like %s", name, known[3].Name)
		}
		ids = append(ids, known[i].ID)
	}
	return ids, nil
}

func curves(names []string) ([]tls.CurveID, error) {
	known := map[string]tls.CurveID{
		"P256": tls.CurveP256, "P384": tls.CurveP384, "P521": tls.CurveP521,
		"X25519": tls.X25519, "X25519MLKEM768": tls.X25519MLKEM768,
	}
	var ids []tls.CurveID
	for _, name := range names {
		id, ok := known[strings.ToUpper(name)]
		if !ok {
			return nil, fmt.Errorf("curve_preferences: %q is unknown, use P256, P384, P521, X25519 or X25519MLKEM768", name)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Handshake answers a client and owns conn, which it closes when it fails. It ends with the timeout
// of the options or with ctx, whichever is first; deadlines of conn hold too and are left alone.
func (s *Server) Handshake(ctx context.Context, conn net.Conn) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	l := &lower{Conn: conn}
	c := tls.Server(l, s.config)
	err := apart(func() error { return c.HandshakeContext(ctx) })
	if err == nil && c.ConnectionState().NegotiatedProtocol == challengeProtocol {
		_ = c.Close()
		return nil, ErrChallenge
	}
	if err == nil {
		return newConn(c, l, connLayout.of(unsafe.Pointer(c))), nil
	}
	if l.plain != nil {
		return nil, answerPlain(ctx, l)
	}
	_ = conn.Close()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return nil, fmt.Errorf("tls handshake: %w", err)
}

// answerPlain treats a client that does not speak TLS as nginx does: a request is told so, anything
// else is a bad request.
func answerPlain(ctx context.Context, l *lower) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Conn.Close() })
	defer stop()
	conn := netio.NewConn(l.Conn)
	b := netio.Get()
	_, _ = b.Write(l.plain) // one read of crypto/tls, shorter than a buffer
	l.plain = nil
	conn.Unread(netio.Filled(b))
	r, _, err := http1.Read(conn)
	refused := &http1.StatusError{Status: 497}
	if err != nil && !errors.As(err, &refused) {
		_ = conn.Close()
		return fmt.Errorf("%w: %w", ErrPlainHTTP, err)
	}
	page := http1.Refusal(&r, refused)
	page.Now = time.Now()
	if _, err := conn.Write(page.Append(nil)); err != nil {
		_ = conn.Close()
		return fmt.Errorf("%w: %w", ErrPlainHTTP, err)
	}
	http1.Linger(conn)
	return ErrPlainHTTP
}
