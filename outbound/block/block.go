// Package block refuses everything.
package block

import (
	"context"
	"errors"
	"net"

	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/constant"
	"heki/option"
	"heki/outbound"
)

// ErrBlocked is the answer to every dial.
var ErrBlocked = errors.New("blocked")

// Outbound refuses everything.
type Outbound struct{ tag string }

// Register adds the type to r.
func Register(r *outbound.Registry) { outbound.Register(r, constant.TypeBlock, New) }

// New returns the outbound.
func New(_ outbound.Env, tag string, _ *option.Block) (adapter.Outbound, error) {
	return &Outbound{tag}, nil
}

// Tag implements adapter.Outbound.
func (o *Outbound) Tag() string { return o.tag }

// Dial returns ErrBlocked.
func (o *Outbound) Dial(context.Context, *adapter.Metadata) (net.Conn, error) {
	return nil, ErrBlocked
}

// ListenPacket returns ErrBlocked.
func (o *Outbound) ListenPacket(context.Context, *adapter.Metadata) (N.PacketConn, error) {
	return nil, ErrBlocked
}

// Close implements adapter.Outbound.
func (o *Outbound) Close() error { return nil }
