package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"heki/option"
)

// Codes of RFC 9250 §4.3.
const (
	doqNoError   = 0x0
	doqCancelled = 0x3
)

// link is one QUIC connection that all queries to a server share. It is made when there is a query, and
// ends itself when idle; without it there is no socket and no goroutine.
type link struct {
	at     *endpoint
	secure *tls.Config
	quic   *quic.Config
	http   *http3.Transport // makes clients for HTTP/3 and has no connections of its own; nil for DoQ

	mu     sync.Mutex
	conn   *linkConn // the one to use
	dial   *dialling // on its way
	closed bool
	wg     sync.WaitGroup // connections that have not ended
}

type linkConn struct {
	*quic.Conn
	http *http3.ClientConn
}

// dialling is a dial that several queries wait for. Its fields are set before done is closed.
type dialling struct {
	done      chan struct{}
	err       error
	abandoned bool // by the query that began it, which says nothing of the server
}

func newLink(e *endpoint, roots *x509.CertPool, alpn string) *link {
	return &link{at: e, secure: tlsConfig(e, roots, alpn), quic: &quic.Config{
		MaxIdleTimeout:        secureTimeout,
		MaxIncomingStreams:    -1,
		MaxIncomingUniStreams: 3, // HTTP/3's control stream and QPACK's two
	}}
}

// ask calls send with a connection, and again with a new one when an older one turned out to be dead.
func (l *link) ask(ctx context.Context, send func(conn *linkConn) (*dns.Msg, error)) (*dns.Msg, error) {
	for {
		conn, fresh, err := l.get(ctx)
		if err != nil {
			return nil, because(ctx, err)
		}
		reply, err := send(conn)
		if err == nil || answered(err) {
			return reply, err
		}
		if abandoned(ctx) {
			return nil, context.Cause(ctx)
		}
		l.drop(conn)
		if fresh || ctx.Err() != nil {
			l.at.failed()
			return nil, because(ctx, err)
		}
	}
}

// get returns the connection to use. It is fresh when it was made for this very query.
func (l *link) get(ctx context.Context) (conn *linkConn, fresh bool, err error) {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return nil, false, net.ErrClosed
		}
		if l.conn != nil && l.conn.Context().Err() == nil {
			conn = l.conn
			l.mu.Unlock()
			return conn, false, nil
		}
		other := l.dial
		if other == nil {
			l.dial = &dialling{done: make(chan struct{})}
			l.mu.Unlock()
			conn, err = l.open(ctx)
			return conn, true, err
		}
		l.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
		if other.err != nil && !other.abandoned {
			return nil, false, other.err
		}
	}
}

// open dials, and lets those who wait know.
func (l *link) open(ctx context.Context) (*linkConn, error) {
	conn, err := l.connect(ctx)
	if err != nil && !abandoned(ctx) {
		l.at.failed()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.dial.err, l.dial.abandoned = conn, err, abandoned(ctx)
	close(l.dial.done)
	l.dial = nil
	if err == nil && l.closed {
		_ = conn.CloseWithError(doqNoError, "")
		return nil, net.ErrClosed
	}
	return conn, err
}

// connect makes a connection with a socket of its own, which ends with it.
func (l *link) connect(ctx context.Context) (*linkConn, error) {
	to, err := l.at.where(ctx)
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, err
	}
	transport := &quic.Transport{Conn: socket}
	conn, err := transport.Dial(ctx, net.UDPAddrFromAddrPort(to), l.secure, l.quic)
	if err != nil {
		return nil, errors.Join(err, transport.Close(), socket.Close())
	}
	l.wg.Add(1)
	context.AfterFunc(conn.Context(), func() {
		defer l.wg.Done()
		_ = transport.Close()
		_ = socket.Close()
	})
	if l.http != nil {
		return &linkConn{conn, l.http.NewClientConn(conn)}, nil
	}
	return &linkConn{Conn: conn}, nil
}

// drop ends a connection that failed. Other queries on it try again on the next one.
func (l *link) drop(conn *linkConn) {
	l.mu.Lock()
	if l.conn == conn {
		l.conn = nil
	}
	l.mu.Unlock()
	_ = conn.CloseWithError(doqNoError, "")
}

// Close ends the connection and waits until its socket is closed.
func (l *link) Close() error {
	l.mu.Lock()
	conn := l.conn
	l.conn, l.closed = nil, true
	l.mu.Unlock()
	if conn != nil {
		_ = conn.CloseWithError(doqNoError, "")
	}
	l.wg.Wait()
	return nil
}

// doq asks over QUIC, each query on a stream of its own.
type doq struct{ *link }

func newDoQ(e *endpoint, roots *x509.CertPool) *doq { return &doq{newLink(e, roots, "doq")} }

// Lookup implements Server.
func (d *doq) Lookup(ctx context.Context, name string, ipv6 bool) (Answer, error) {
	return lookup(name, ipv6, func(q *dns.Msg) (*dns.Msg, error) {
		reply, err := d.ask(ctx, func(conn *linkConn) (*dns.Msg, error) { return onStream(ctx, conn.Conn, q) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", option.DNSQUIC, err)
		}
		return reply, nil
	})
}

// onStream asks and reads one answer. The end of the stream, which should follow, is not waited for.
func onStream(ctx context.Context, conn *quic.Conn, q *dns.Msg) (*dns.Msg, error) {
	q.Id = 0 // RFC 9250 §4.2.1
	out, err := packPrefixed(q)
	if err != nil {
		return nil, err
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	give := func() {
		stream.CancelWrite(doqCancelled)
		stream.CancelRead(doqCancelled)
	}
	stop := context.AfterFunc(ctx, give)
	defer stop()
	defer stream.CancelRead(doqNoError) // of no effect when all was read
	if _, err := stream.Write(out); err != nil {
		return nil, err
	}
	if err := stream.Close(); err != nil { // §4.2: the end of the query
		return nil, err
	}
	b, err := readPrefixed(stream)
	if err != nil {
		return nil, err
	}
	return parseReply(b, q)
}
