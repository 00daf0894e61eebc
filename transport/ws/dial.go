package ws

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/internal/http1"
	"heki/transport/internal/web"
)

// ErrNoUpgrade says that a server does not speak WebSocket.
var ErrNoUpgrade = errors.New("the server does not upgrade")

// Dialer asks servers for streams. Its methods are safe for concurrent use.
type Dialer struct {
	path    string
	hosts   []string
	host    string
	headers string
}

// NewDialer prepares a dialer. host is asked for when o names none. It sends no early data: servers
// that take it do not insist.
func NewDialer(o *option.Transport, host string) (*Dialer, error) {
	fields, err := web.RequestFields(o.Headers)
	if err != nil {
		return nil, err
	}
	return &Dialer{path: web.NewPath(o.Path).Encoded(), hosts: o.Host, host: host, headers: web.Lines(fields)}, nil
}

// Dial asks on conn, which it owns, for a stream and returns that. ctx bounds the time until then.
func (d *Dialer) Dial(ctx context.Context, conn net.Conn) (net.Conn, error) {
	c := netio.NewConn(conn)
	if err := web.Within(ctx, conn, func() error { return d.upgrade(c) }); err != nil {
		_ = c.Close()
		c.Drop()
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	stream := newConn(c, nil)
	stream.client, stream.dec.bare = true, true
	return stream, nil
}

func (d *Dialer) upgrade(c *netio.Conn) error {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // it never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s\r\n", d.path, web.Pick(d.hosts, d.host), key, d.headers)
	if err != nil {
		return err
	}
	r, n, err := http1.ReadResponse(c)
	if err != nil {
		return err
	}
	accept, _ := r.Get("Sec-WebSocket-Accept")
	if r.Status != 101 || string(accept) != web.AcceptKey(key) {
		return fmt.Errorf("%w: status %d", ErrNoUpgrade, r.Status)
	}
	_, err = c.Discard(n)
	return err
}
