package inbound

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sagernet/sing/common/buf"

	"heki/option"
	"heki/transport/proxyproto"
)

const (
	// maxProxied bounds the flows of load balancers that one inbound remembers.
	maxProxied = 16384
	// proxiedIdle is how long a flow is remembered without a datagram.
	proxiedIdle = 5 * time.Minute
)

// proxied takes PROXY headers off datagrams. Some load balancers put one before every datagram, some
// only before the first of a flow: whom a header names is remembered by the balancer's address and
// port, which is one flow.
type proxied struct {
	required bool
	trusted  []netip.Prefix // peers whose header is believed; none: all

	mu    sync.Mutex
	flows map[netip.AddrPort]flow
}

// flow is whom a header has named.
type flow struct {
	source netip.AddrPort
	seen   time.Time
}

// newProxied returns nil when mode asks for no headers.
func newProxied(mode string, trusted []netip.Prefix) *proxied {
	if mode != option.ProxyRequired && mode != option.ProxyOptional {
		return nil
	}
	return &proxied{required: mode == option.ProxyRequired, trusted: trusted, flows: make(map[netip.AddrPort]flow)}
}

// take takes the header off b and notes the client in from. An error refuses the datagram.
func (p *proxied) take(b *buf.Buffer, from *Endpoint) error {
	peer := from.peer.Addr()
	if len(p.trusted) > 0 && !slices.ContainsFunc(p.trusted, func(t netip.Prefix) bool { return t.Contains(peer) }) {
		if p.required {
			return fmt.Errorf("%w: %s is not in trusted_proxies", proxyproto.ErrMissing, peer)
		}
		return nil
	}
	h, n, err := proxyproto.ParseDatagram(b.Bytes())
	switch {
	case errors.Is(err, proxyproto.ErrMissing):
		if source, ok := p.known(from.peer, time.Now()); ok {
			from.Source = source
			return nil
		}
		if p.required {
			return err
		}
		return nil
	case err != nil:
		return err
	}
	b.Advance(n)
	if h.Source.IsValid() {
		from.Source = h.Source
	}
	p.note(from.peer, from.Source, time.Now())
	return nil
}

// known returns the client of a flow.
func (p *proxied) known(peer netip.AddrPort, now time.Time) (netip.AddrPort, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, ok := p.flows[peer]
	if !ok || now.Sub(f.seen) > proxiedIdle {
		return netip.AddrPort{}, false
	}
	f.seen = now
	p.flows[peer] = f
	return f.source, true
}

// note remembers the client of a flow. In a full table the flows that have gone quiet make room, or
// else any one.
func (p *proxied) note(peer, source netip.AddrPort, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.flows[peer]; !ok && len(p.flows) >= maxProxied {
		for other, f := range p.flows {
			if now.Sub(f.seen) > proxiedIdle {
				delete(p.flows, other)
			}
		}
		for other := range p.flows {
			if len(p.flows) < maxProxied {
				break
			}
			delete(p.flows, other)
		}
	}
	p.flows[peer] = flow{source, now}
}
