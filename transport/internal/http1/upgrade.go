package http1

import (
	"context"
	"errors"
	"fmt"
	"net"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/internal/web"
)

// ErrNoUpgrade says that a server does not switch to another protocol.
var ErrNoUpgrade = errors.New("the server does not upgrade")

// Upgrader asks servers to switch to WebSocket, or to what looks like it. Its methods are safe for
// concurrent use.
type Upgrader struct {
	path    string
	hosts   []string
	host    string
	headers string
}

// NewUpgrader prepares an Upgrader. host is asked for when o names none.
func NewUpgrader(o *option.Transport, host string) (*Upgrader, error) {
	fields, err := web.RequestFields(o.Headers)
	if err != nil {
		return nil, err
	}
	return &Upgrader{path: web.NewPath(o.Path).Encoded(), hosts: o.Host, host: host, headers: web.Lines(fields)}, nil
}

// Dial asks on conn, which it owns, and returns what follows the answer. rest goes behind the path, and
// lines among the headers of the request. accept judges an answer that says it upgrades. ctx bounds the
// time until then.
func (u *Upgrader) Dial(ctx context.Context, conn net.Conn, rest, lines string, accept func(*Response) bool) (*netio.Conn, error) {
	c := netio.NewConn(conn)
	err := web.Within(ctx, conn, func() error {
		if _, err := c.Write(u.request(rest, lines)); err != nil {
			return err
		}
		return answered(c, accept)
	})
	if err != nil {
		_ = c.Close()
		c.Drop()
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	return c, nil
}

func (u *Upgrader) request(rest, lines string) []byte {
	return fmt.Appendf(nil, "GET %s%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s%s\r\n",
		u.path, rest, web.Pick(u.hosts, u.host), lines, u.headers)
}

// answered takes the head of the answer off c.
func answered(c *netio.Conn, accept func(*Response) bool) error {
	r, n, err := ReadResponse(c)
	if err != nil {
		return err
	}
	if r.Status != 101 || !r.Has("Upgrade", "websocket") || !r.Has("Connection", "upgrade") || !accept(&r) {
		return fmt.Errorf("%w: status %d", ErrNoUpgrade, r.Status)
	}
	_, err = c.Discard(n)
	return err
}
