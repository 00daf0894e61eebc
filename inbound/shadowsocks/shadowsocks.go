// Package shadowsocks answers Shadowsocks clients, those of the AEAD ciphers and those of Shadowsocks
// 2022, on TCP and UDP.
package shadowsocks

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/inbound/internal/match"
	"heki/internal/protocol/shadowsocks"
	"heki/internal/protocol/ss2022"
	"heki/option"
	"heki/transport/simpleobfs"
)

// Errors of clients that are refused.
var (
	errBanned = errors.New("the address failed too often and is refused for a while")
	errReplay = errors.New("replayed")
	errClock  = errors.New("the client's clock is off")
	errSplit  = errors.New("the request does not come in one piece")
	errMethod = errors.New("unknown method")
)

// base is what both kinds have.
type base struct {
	*inbound.Pair
	dispatcher *inbound.Dispatcher
	log        *slog.Logger
	env        inbound.Env
	patience   time.Duration // of a client, for a turn to search
	memory     *Memory
	streams    *match.Bans // who failed with streams
	packets    *match.Bans // who failed with datagrams: anybody can send those in another's name
	ban        time.Duration
}

// Register adds the type to r. All its inbounds share m, which outlives each of them.
func Register(r *inbound.Registry, m *Memory) {
	inbound.Register(r, constant.TypeShadowsocks, func(env inbound.Env, tag string, o *option.Shadowsocks) (adapter.Inbound, error) {
		return New(env, tag, o, m)
	})
}

// New builds the inbound. It serves nobody before SwapUsers.
func New(env inbound.Env, tag string, o *option.Shadowsocks, m *Memory) (adapter.Inbound, error) {
	b := newBase(env, tag, o, m)
	if method, ok := ss2022.ParseMethod(o.Method); ok {
		return newModern(b, tag, o, method)
	}
	method, ok := shadowsocks.ParseMethod(o.Method)
	if !ok {
		return nil, fmt.Errorf("method %q: %w", o.Method, errMethod)
	}
	if o.Password != "" && len(o.Users) > 0 {
		b.log.Warn("password is not used: there are users, who have their own", "method", o.Method)
	}
	return newClassic(b, tag, o, method)
}

func newBase(env inbound.Env, tag string, o *option.Shadowsocks, m *Memory) base {
	b := base{
		dispatcher: inbound.NewDispatcher(env, &o.Stream), log: env.Log.With("inbound", tag), env: env,
		patience: time.Duration(o.HandshakeTimeout), memory: m,
		streams: new(match.Bans), packets: new(match.Bans),
	}
	if b.patience <= 0 {
		b.patience = constant.HandshakeTimeout
	}
	if o.Limits != nil && o.Limits.InvalidAccess.Count > 0 {
		i := o.Limits.InvalidAccess
		b.ban = time.Duration(i.Ban)
		b.streams = match.NewBans(i.Count, time.Duration(i.Window), b.ban)
		b.packets = match.NewBans(i.Count, time.Duration(i.Window), b.ban)
	}
	return b
}

// listen makes the chassis that h serves.
func (b *base) listen(tag string, o *option.Shadowsocks, h inbound.PairHandler) error {
	pair, err := inbound.NewPair(b.env, tag, constant.TypeShadowsocks, &o.Stream, &o.Packet, h)
	if err != nil {
		return err
	}
	if s := pair.Streams(); s != nil && o.Obfs != nil {
		s.Behind(simpleobfs.New(o.Obfs))
	}
	b.Pair = pair
	return nil
}

// Close implements adapter.Inbound.
func (b *base) Close() error {
	err := b.Pair.Close()
	b.dispatcher.Close()
	return err
}

// failed counts who does not authenticate.
func (b *base) failed(bans *match.Bans, addr netip.Addr, now time.Time) {
	if bans.Failed(addr, now) {
		b.log.Info("an address failed too often to authenticate and is refused", "address", addr.String(), "for", b.ban.String())
	}
}
