package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"heki/option"
)

const (
	idleConns     = 4                // kept open
	idleTimeout   = 10 * time.Second // RFC 7766 §6.2.3: a few seconds
	secureConns   = 16               // of those that cost a handshake
	secureTimeout = 30 * time.Second // no less than what servers allow
)

// tcp asks over TCP, or TLS upon it, and keeps a few connections for the next queries.
type tcp struct {
	at     *endpoint
	idle   time.Duration
	most   int         // idle connections
	scheme string      // for errors
	secure *tls.Config // nil without TLS

	mu     sync.Mutex
	free   []*freeConn // the last one is the youngest
	closed bool
}

type freeConn struct {
	net.Conn
	expire *time.Timer
}

func newTCP(e *endpoint) *tcp {
	return &tcp{at: e, idle: idleTimeout, most: idleConns, scheme: option.DNSTCP}
}

func newTLS(e *endpoint, roots *x509.CertPool) *tcp {
	return &tcp{at: e, idle: secureTimeout, most: secureConns, scheme: option.DNSTLS, secure: tlsConfig(e, roots, "dot")}
}

func (t *tcp) dial(ctx context.Context) (net.Conn, error) {
	raw, err := t.at.dial(ctx, "tcp")
	if err != nil || t.secure == nil {
		return raw, err
	}
	conn := tls.Client(raw, t.secure)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// Lookup implements Server.
func (t *tcp) Lookup(ctx context.Context, name string, ipv6 bool) (Answer, error) {
	return lookup(name, ipv6, func(q *dns.Msg) (*dns.Msg, error) { return t.exchange(ctx, q) })
}

// Close implements Server.
func (t *tcp) Close() error {
	t.mu.Lock()
	free := t.free
	t.free, t.closed = nil, true
	t.mu.Unlock()
	var errs []error
	for _, c := range free {
		c.expire.Stop()
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (t *tcp) exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	out, err := packPrefixed(q)
	if err != nil {
		return nil, err
	}
	for {
		conn := t.take()
		reused := conn != nil
		if !reused {
			if conn, err = t.dial(ctx); err != nil {
				t.at.failed()
				return nil, fmt.Errorf("%s: %w", t.scheme, because(ctx, err))
			}
		}
		reply, err := onConn(ctx, conn, out, q)
		if err == nil {
			t.put(conn)
			return reply, nil
		}
		_ = conn.Close()
		if !reused || ctx.Err() != nil { // a server may close an idle connection at any time
			if !abandoned(ctx) {
				t.at.failed()
			}
			return nil, fmt.Errorf("%s: %w", t.scheme, because(ctx, err))
		}
	}
}

// packPrefixed encodes q behind its length, which is how streams carry messages.
func packPrefixed(q *dns.Msg) ([]byte, error) {
	out, err := q.Pack()
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(out)), uint16(len(out))), out...), nil
}

// readPrefixed reads one message, of at most 65535 bytes, behind its length.
func readPrefixed(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(head[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func onConn(ctx context.Context, conn net.Conn, out []byte, q *dns.Msg) (*dns.Msg, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := conn.Write(out); err != nil {
		return nil, err
	}
	b, err := readPrefixed(conn)
	if err != nil {
		return nil, err
	}
	reply, err := parseReply(b, q)
	if err == nil && !stop() {
		return nil, context.Cause(ctx) // the connection was closed under a finished query
	}
	return reply, err
}

// take returns an idle connection, nil without one.
func (t *tcp) take() net.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.free) > 0 {
		c := t.free[len(t.free)-1]
		t.free = t.free[:len(t.free)-1]
		if c.expire.Stop() { // else it is being closed
			return c.Conn
		}
	}
	return nil
}

func (t *tcp) put(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.free) >= t.most {
		_ = conn.Close()
		return
	}
	c := &freeConn{Conn: conn}
	c.expire = time.AfterFunc(t.idle, func() { t.drop(c) })
	t.free = append(t.free, c)
}

// drop closes a connection that was idle for too long.
func (t *tcp) drop(c *freeConn) {
	t.mu.Lock()
	t.free = slices.DeleteFunc(t.free, func(f *freeConn) bool { return f == c })
	t.mu.Unlock()
	_ = c.Close()
}
