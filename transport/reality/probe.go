package reality

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	utls "github.com/metacubex/utls"

	"heki/constant"
	"heki/option"
)

// Probe asks the target of o, which has to be validated and to have REALITY, once for each server name
// and returns what speaks against it: no TLS 1.3 that can be imitated, no HTTP/2, a certificate for other
// names. Each error wraps ErrTarget.
func Probe(ctx context.Context, o *option.TLS) []error {
	h := o.Reality.Handshake
	address := net.JoinHostPort(h.Server, strconv.Itoa(int(h.ServerPort)))
	var all []error
	for i, name := range o.Reality.ServerNames {
		found, err := probeName(ctx, address, name, i == 0)
		all = append(all, found...)
		if err != nil {
			return append(all, fmt.Errorf("%w %s: %w", ErrTarget, address, err)) // no other name will do better
		}
	}
	return all
}

// probeName shakes hands as a client for name. whole says to look at more than the certificate. The error is
// about the connection.
func probeName(ctx context.Context, address, name string, whole bool) ([]error, error) {
	ctx, cancel := context.WithTimeout(ctx, constant.HandshakeTimeout)
	defer cancel()
	d := net.Dialer{Timeout: constant.DialTimeout}
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	heard := &listener{Conn: raw}
	conn := tls.Client(heard, &tls.Config{
		ServerName:         name,
		NextProtos:         []string{"h2", "http/1.1"},
		InsecureSkipVerify: true, // a private authority is the operator's choice; names are looked at below
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(constant.HandshakeTimeout))
	defer conn.Close()
	var all []error
	state := conn.ConnectionState()
	if whole {
		n, err := serverHelloSize(heard.first)
		if err == nil {
			err = checkServerHello(heard.first[:n], []utls.CurveID{utls.X25519, utls.X25519MLKEM768})
		}
		if errors.Is(err, errShort) {
			err = errBadServerHello
		}
		if err != nil {
			all = append(all, err)
		}
		if state.NegotiatedProtocol != "h2" {
			all = append(all, fmt.Errorf("%w: it does not speak HTTP/2, as the sites do that browsers meet with TLS 1.3", ErrTarget))
		}
	}
	if err := state.PeerCertificates[0].VerifyHostname(name); err != nil {
		all = append(all, fmt.Errorf("%w: it answers to %s with a certificate for another name: %w", ErrTarget, name, err))
	}
	return all, nil
}

// listener keeps the first bytes that come.
type listener struct {
	net.Conn
	first []byte
}

func (l *listener) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if room := recordHeader + maxServerHello - len(l.first); room > 0 {
		l.first = append(l.first, p[:min(n, room)]...)
	}
	return n, err
}
