package inbound

import (
	"context"
	"errors"
	"fmt"
	"time"

	"heki/adapter"
	"heki/constant"
	"heki/internal/protocol/uot"
	"heki/internal/protocol/wire"
)

// packetsOverStream serves a client's packets on conn, as UDP over TCP. It owns conn.
func (d *Dispatcher) packetsOverStream(ctx context.Context, conn wire.Conn, md *adapter.Metadata, legacy bool) error {
	var req uot.Request // of version 1, which has none: every packet names its own destination
	if !legacy {
		err := conn.SetReadDeadline(time.Now().Add(constant.HandshakeTimeout))
		if err == nil {
			req, err = uot.ReadRequest(conn)
		}
		if err == nil {
			err = conn.SetReadDeadline(time.Time{})
		}
		if err != nil {
			return errors.Join(fmt.Errorf("udp over tcp: %w", err), conn.Close())
		}
	}
	md.Destination = req.Destination
	return d.router.RoutePacketConn(ctx, uot.NewPacketConn(conn, req), md)
}
