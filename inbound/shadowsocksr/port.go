package shadowsocksr

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/internal/netio"
	"heki/internal/protocol/ssr"
	"heki/internal/protocol/ssr/protocol"
	"heki/option"
)

// place is a port and how it speaks: what makes one port another.
type place struct {
	number uint16
	option.SSRPort
}

// port is one port of an inbound.
type port struct {
	in       *Inbound
	at       place
	codec    *ssr.Port
	limits   ssr.Limits
	pair     *inbound.Pair
	users    atomic.Pointer[set]
	sessions *inbound.Sessions[sessionKey, *session] // nil without UDP

	mu      sync.Mutex
	running bool
}

// How long a client that says nothing counts as a device (ssr.md §9).
const (
	aesSilence   = 180 * time.Second
	chainSilence = 600 * time.Second
)

func newPort(in *Inbound, at place) (*port, error) {
	clients, interval := ssr.ParseServerParam(at.ProtocolParam)
	codec, err := ssr.NewPort(ssr.Config{
		Method: at.Method, Password: at.Password, Protocol: at.Protocol,
		Obfs: at.Obfs, ObfsParam: at.ObfsParam, Interval: interval,
	})
	if err != nil {
		return nil, err
	}
	p := &port{in: in, at: at, codec: codec, limits: ssr.Limits{Clients: clients, Silence: chainSilence}}
	if strings.HasPrefix(at.Protocol, "auth_aes128") {
		p.limits.Silence, p.limits.Linger = aesSilence, true
	}
	p.users.Store(new(set))
	stream := in.o.Stream
	stream.ListenPort = at.number
	if p.pair, err = inbound.NewPair(in.env, in.tag, constant.TypeShadowsocksR, &stream, &in.o.Packet, p); err != nil {
		return nil, err
	}
	if packets := p.pair.Packets(); packets != nil {
		p.sessions = inbound.NewSessions[sessionKey, *session](packets)
	}
	return p, nil
}

// start binds the port unless it is bound.
func (p *port) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running {
		return nil
	}
	if err := p.pair.Start(); err != nil {
		return err
	}
	p.running = true
	return nil
}

// attempt is one client who wants in.
type attempt struct {
	port  *port
	users *set
	entry *entry
	visit *ssr.Visit
}

// Host implements obfs.Gate.
func (a *attempt) Host(host string) error {
	if a.port.at.Mode != option.SSRObfs {
		return nil
	}
	if a.entry = a.users.byHost[host]; a.entry == nil {
		return fmt.Errorf("host %q: %w", host, inbound.ErrUnknownUser)
	}
	return nil
}

// Fresh implements obfs.Gate.
func (a *attempt) Fresh(random [22]byte) bool {
	return a.port.in.memory.hellos.First(a.Now(), random[:])
}

// Now implements obfs.Gate.
func (a *attempt) Now() time.Time { return a.port.in.env.Time() }

// UserKey implements ssr.Authority.
func (a *attempt) UserKey(uid uint32) ([]byte, bool) {
	switch a.port.at.Mode {
	case option.SSRProtocol:
		if a.entry = a.users.byID[uid]; a.entry == nil {
			return nil, false
		}
		return a.entry.key, true
	case option.SSRObfs:
		// The host has said who it is. Clients may say so again, or make up a number.
		if a.entry != nil && uint32(a.entry.user.ID) == uid {
			return a.entry.key, true
		}
	}
	return a.port.codec.Key(), true
}

// Admit implements ssr.Authority.
func (a *attempt) Admit(h *protocol.Head) error {
	if a.port.at.Mode == option.SSRSingleUser {
		a.entry = a.users.single
	}
	if a.entry == nil {
		return inbound.ErrUnknownUser
	}
	if h == nil {
		return nil
	}
	now := a.Now()
	if err := ssr.CheckTime(h.UTC, now); err != nil {
		return err
	}
	limits := a.port.limits
	if a.entry.devices > 0 {
		limits.Clients = a.entry.devices
	}
	visit, err := a.port.in.memory.admit(seat{a.port.in.tag, a.port.at.number, a.entry.user.ID}, h, now, limits)
	if err != nil {
		return fmt.Errorf("user %q: %w", a.entry.user.Name, err)
	}
	a.visit = visit
	return nil
}

// leave ends what Admit began.
func (a *attempt) leave() {
	if a.visit != nil {
		a.visit.Leave()
	}
}

// heard notes that the client said something.
func (a *attempt) heard() { a.visit.Touch(a.Now()) }

// ServeStream implements inbound.Handler.
func (p *port) ServeStream(ctx context.Context, conn *netio.Conn, md *adapter.Metadata) error {
	a := &attempt{port: p, users: p.users.Load()}
	defer a.leave()
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails
	h := p.codec.Handshake(a, mss(conn), seed, netio.Pool{})
	err := inbound.Await(conn, func(raw []byte) (bool, error) {
		done, err := h.Push(raw)
		if b := h.Greeting(); b != nil && err == nil {
			_, err = conn.Write(b)
		}
		return done, err
	})
	if err != nil {
		return p.refuse(conn, h, err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		h.Drop()
		return err
	}
	c, err := h.Conn(conn)
	if err != nil {
		return err
	}
	defer c.Drop()
	if a.visit != nil {
		c.Heard = a.heard
	}
	md.User, md.Destination = a.entry.user, h.Destination
	stream := netio.NewConn(c) // looks ahead in what was decrypted
	defer stream.Drop()
	if h.Packets {
		return p.in.dispatcher.Packets(ctx, newFrames(stream), md)
	}
	return p.in.dispatcher.Stream(ctx, stream, md)
}

// refuse is for clients who do not get in: they meet the fallback with all that they said, the reference's
// redirect, or silence. The reference without a redirect closes at once, at the very byte that is wrong,
// which tells a prober how long the cipher's IV and the protocol's head are. Nobody but us can go on with
// a stream that was greeted, or that is a user's.
func (p *port) refuse(conn *netio.Conn, h *ssr.Handshake, err error) error {
	defer h.Drop()
	var rejected *inbound.Rejected
	if errors.As(err, &rejected) && (h.Greeted() || h.Known()) {
		return inbound.Silence(conn, rejected.Reason)
	}
	return err
}
