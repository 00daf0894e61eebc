package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/miekg/dns"
)

const (
	resendAfter = time.Second // datagrams get lost
	readBuffer  = 4 << 10     // servers may send more than they were asked for
)

// udp asks over UDP, with a socket and so a random source port for each query, and over TCP when the
// answer is truncated.
type udp struct {
	at  *endpoint
	tcp *tcp
}

func newUDP(e *endpoint) *udp { return &udp{at: e, tcp: newTCP(e)} }

// Lookup implements Server.
func (u *udp) Lookup(ctx context.Context, name string, ipv6 bool) (Answer, error) {
	return lookup(name, ipv6, func(q *dns.Msg) (*dns.Msg, error) {
		reply, err := u.exchange(ctx, q)
		if err != nil {
			u.at.failed()
			return nil, fmt.Errorf("udp: %w", err)
		}
		if !reply.Truncated {
			return reply, nil
		}
		whole, err := u.tcp.exchange(ctx, q)
		if err == nil {
			return whole, nil
		}
		if part, err := answerOf(q, reply); err == nil && len(part.Addrs) > 0 {
			return reply, nil // some addresses are better than none where TCP is filtered
		}
		return nil, err
	})
}

// Close implements Server.
func (u *udp) Close() error { return u.tcp.Close() }

func (u *udp) exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	out, err := q.Pack()
	if err != nil {
		return nil, err
	}
	conn, err := u.at.dial(ctx, "udp")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	buf := make([]byte, readBuffer)
	for {
		if _, err := conn.Write(out); err != nil {
			return nil, because(ctx, err)
		}
		reply, err := awaitReply(conn, q, buf, time.Now().Add(resendAfter))
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
			return reply, because(ctx, err)
		}
	}
}

// awaitReply reads until the reply to q comes. What does not fit is ignored: a forger must not be
// able to end the query.
func awaitReply(conn net.Conn, q *dns.Msg, buf []byte, until time.Time) (*dns.Msg, error) {
	if err := conn.SetReadDeadline(until); err != nil {
		return nil, err
	}
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		reply, err := parseReply(buf[:n], q)
		if errors.Is(err, errMismatch) {
			continue
		}
		return reply, err
	}
}

// abandoned says that nobody waits for the answer any more, which is not the server's fault.
func abandoned(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// because names the end of ctx as the reason of what it caused.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
