package ws

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net"

	"heki/option"
	"heki/transport/internal/http1"
	"heki/transport/internal/web"
)

// ErrNoUpgrade says that a server does not speak WebSocket.
var ErrNoUpgrade = http1.ErrNoUpgrade

// Dialer asks servers for streams. Its methods are safe for concurrent use.
type Dialer struct {
	upgrader    *http1.Upgrader
	maxEarly    int    // bytes; 0: none
	earlyHeader string // empty: the path carries them
}

// NewDialer prepares a dialer. host is asked for when o names none.
func NewDialer(o *option.Transport, host string) (*Dialer, error) {
	u, err := http1.NewUpgrader(o, host)
	if err != nil {
		return nil, err
	}
	return &Dialer{upgrader: u, maxEarly: int(min(o.MaxEarlyData, maxEarly)), earlyHeader: o.EarlyDataHeaderName}, nil
}

// Dial asks on conn, which it owns, for a stream and returns that. ctx bounds the time until then. With
// early data it only returns: the first write asks, and takes its start along.
func (d *Dialer) Dial(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if d.maxEarly > 0 {
		return newEarlyConn(conn, d), nil
	}
	c, err := d.ask(ctx, conn, nil)
	if err != nil {
		return nil, err // a nil *Conn would be no nil
	}
	return c, nil
}

// ask upgrades conn with a request that carries early.
func (d *Dialer) ask(ctx context.Context, conn net.Conn, early []byte) (*Conn, error) {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // it never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	lines, rest := "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+key+"\r\n", ""
	if text := base64.RawURLEncoding.EncodeToString(early); d.earlyHeader == "" {
		rest = text
	} else if text != "" {
		lines += d.earlyHeader + ": " + text + "\r\n"
	}
	c, err := d.upgrader.Dial(ctx, conn, rest, lines, func(r *http1.Response) bool {
		accept, _ := r.Get("Sec-WebSocket-Accept")
		return string(accept) == web.AcceptKey(key)
	})
	if err != nil {
		return nil, err
	}
	stream := newConn(c, nil)
	stream.client, stream.dec.bare = true, true
	return stream, nil
}
