package inbound

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"

	"heki/internal/netio"
	"heki/option"
	"heki/transport"
)

// Behind puts t, obfuscation that is no transport of the options, between TCP or TLS and the protocol.
// It is for before Start.
func (s *Stream) Behind(t transport.Server) { s.transport = t }

// Pair is one inbound that listens on TCP and UDP of the same addresses and port, or on one of them.
// It is what a protocol with both embeds.
type Pair struct {
	tag     string
	streams *Stream // nil without TCP
	packets *Packet // nil without UDP
}

// PairHandler is one protocol over streams and datagrams.
type PairHandler interface {
	Handler
	PacketHandler
}

// NewPair builds the chassis of an inbound. It reads certificates but binds nothing.
func NewPair(env Env, tag, protocol string, o *option.Stream, p *option.Packet, h PairHandler) (*Pair, error) {
	pair := &Pair{tag: tag}
	var err error
	if p.HasTCP() {
		if pair.streams, err = NewStream(env, tag, protocol, o, h); err != nil {
			return nil, err
		}
	}
	if p.HasUDP() {
		if pair.packets, err = NewPacket(env, tag, protocol, &o.Listen, h); err != nil {
			return nil, err
		}
	}
	return pair, nil
}

// Tag implements adapter.Inbound.
func (p *Pair) Tag() string { return p.tag }

// Streams is the part on TCP, or nil.
func (p *Pair) Streams() *Stream { return p.streams }

// Packets is the part on UDP, or nil: what NewSessions wants.
func (p *Pair) Packets() *Packet { return p.packets }

// Addresses returns the addresses it listens on, those of TCP first.
func (p *Pair) Addresses() []net.Addr {
	var all []net.Addr
	if p.streams != nil {
		all = p.streams.Addresses()
	}
	if p.packets != nil {
		all = append(all, p.packets.Addresses()...)
	}
	return all
}

// Open returns how many connections and sessions are open.
func (p *Pair) Open() int {
	n := 0
	if p.streams != nil {
		n += p.streams.Open()
	}
	if p.packets != nil {
		n += p.packets.Open()
	}
	return n
}

// portTries is how often the system is asked for a port of TCP that is free on UDP too.
const portTries = 10

// Start binds both or nothing. A port that the system chooses is one for both.
func (p *Pair) Start() error {
	switch {
	case p.streams == nil:
		return p.packets.Start()
	case p.packets == nil:
		return p.streams.Start()
	}
	for range portTries - 1 {
		err := p.startBoth()
		if p.streams.o.Listen.ListenPort != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	return p.startBoth()
}

func (p *Pair) startBoth() error {
	if err := p.streams.Start(); err != nil {
		return err
	}
	var port uint16
	if addrs := p.streams.Addresses(); len(addrs) > 0 {
		port = netio.AddrPort(addrs[0]).Port()
	}
	if err := p.packets.StartOn(port); err != nil {
		p.streams.Retire()
		return err
	}
	return nil
}

// Retire takes no new connections and sessions and lets open ones live. Close ends those too.
func (p *Pair) Retire() {
	if p.streams != nil {
		p.streams.Retire()
	}
	if p.packets != nil {
		p.packets.Retire()
	}
}

// Close stops both, closes what is open and waits.
func (p *Pair) Close() error {
	var wg sync.WaitGroup
	var errs [2]error
	if p.streams != nil {
		wg.Go(func() { errs[0] = p.streams.Close() })
	}
	if p.packets != nil {
		wg.Go(func() { errs[1] = p.packets.Close() })
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

// Wait returns when a retired inbound has nothing open left, or ctx is done.
func (p *Pair) Wait(ctx context.Context) {
	var wg sync.WaitGroup
	if p.streams != nil {
		wg.Go(func() { p.streams.Wait(ctx) })
	}
	if p.packets != nil {
		wg.Go(func() { p.packets.Wait(ctx) })
	}
	wg.Wait()
}
