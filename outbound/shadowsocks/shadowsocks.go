// Package shadowsocks reaches destinations through a Shadowsocks server, of the AEAD ciphers or of
// Shadowsocks 2022.
package shadowsocks

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"time"

	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/constant"
	"heki/internal/netio"
	"heki/internal/protocol/shadowsocks"
	"heki/internal/protocol/ss2022"
	"heki/option"
	"heki/outbound"
	"heki/outbound/internal/remote"
)

// Outbound opens a stream to the server for each connection, and a socket for each packet session.
type Outbound struct {
	tag    string
	server *remote.Server
	env    outbound.Env // for the clock
	packet option.Packet
	method shadowsocks.Method // AEAD
	key    *shadowsocks.Key   // AEAD
	chain  *ss2022.Chain      // 2022; nil for AEAD
}

// Register adds the type to r.
func Register(r *outbound.Registry) { outbound.Register(r, constant.TypeShadowsocks, New) }

// New builds the outbound.
func New(env outbound.Env, tag string, o *option.ShadowsocksOutbound) (adapter.Outbound, error) {
	out := &Outbound{tag: tag, env: env, packet: o.Packet}
	if m, ok := ss2022.ParseMethod(o.Method); ok {
		var err error
		if out.chain, err = ss2022.ParseChain(m, o.Password); err != nil {
			return nil, fmt.Errorf("password: %w", err)
		}
	} else {
		if out.method, ok = shadowsocks.ParseMethod(o.Method); !ok {
			return nil, fmt.Errorf("method %q is unknown", o.Method)
		}
		out.key = shadowsocks.NewKey(out.method, o.Password)
	}
	var err error
	out.server, err = remote.New(env, &o.Remote, option.Carrier{})
	return out, err
}

// Tag implements adapter.Outbound.
func (o *Outbound) Tag() string { return o.tag }

// Close implements adapter.Outbound.
func (o *Outbound) Close() error { return o.server.Close() }

func (o *Outbound) unix() int64 { return o.env.Time().Unix() }

// Dial implements adapter.Outbound. That the server refuses shows in the first read.
func (o *Outbound) Dial(ctx context.Context, md *adapter.Metadata) (net.Conn, error) {
	if err := remote.Takes(&o.packet, constant.NetworkTCP); err != nil {
		return nil, err
	}
	inner, err := o.server.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: o.client(netio.NewConn(inner), md)}
	c.timer = remote.Soon(c.Flush)
	return c, nil
}

func (o *Outbound) client(inner *netio.Conn, md *adapter.Metadata) *shadowsocks.Conn {
	if o.chain == nil {
		return shadowsocks.NewClientConn(inner, o.method, o.key, random(o.method.KeySize()), md.Destination, netio.Pool{})
	}
	padding := 1 + mathrand.IntN(ss2022.MaxPadding)
	return ss2022.NewClientConn(inner, o.chain, random(o.chain.Method().KeySize()), md.Destination, padding, o.unix, netio.Pool{})
}

// ListenPacket implements adapter.Outbound: one socket of its own, whose packets go anywhere.
func (o *Outbound) ListenPacket(ctx context.Context, _ *adapter.Metadata) (N.PacketConn, error) {
	if err := remote.Takes(&o.packet, constant.NetworkUDP); err != nil {
		return nil, err
	}
	socket, err := o.server.DialPacket(ctx, netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	if o.chain == nil {
		return newPacketConn(socket, newClassic(o.method, o.key))
	}
	return newPacketConn(socket, newModern(o.chain, binary.NativeEndian.Uint64(random(8)), o.unix))
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// conn says where to go with the first payload, or alone when none comes soon.
type conn struct {
	*shadowsocks.Conn
	timer *time.Timer
}

// Close ends the waiting and closes the stream.
func (c *conn) Close() error {
	c.timer.Stop()
	return c.Conn.Close()
}
