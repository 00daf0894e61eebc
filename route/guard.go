package route

import (
	"context"
	"log/slog"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/constant"
)

// guardCache bounds the destinations that one session remembers.
const guardCache = 256

// guard asks the rules about every new destination of a packet session. Deciding once for a session
// would let its first destination vouch for all others.
type guard struct {
	router *Router
	md     adapter.Metadata
	log    *slog.Logger
	state  *state // the rules that gave the verdicts
	last   M.Socksaddr
	answer verdict
	seen   map[M.Socksaddr]verdict
}

// verdict says where packets to one destination go.
type verdict struct {
	to M.Socksaddr // with the address that the rules looked at, when they looked at one
	ok bool
}

// check says where a packet to dst may go. It is for one goroutine.
func (g *guard) check(dst M.Socksaddr) (to M.Socksaddr, ok bool) {
	s := g.router.state.Load()
	if s != g.state { // the rules changed: ask again
		g.state, g.seen, g.last = s, nil, M.Socksaddr{}
	}
	if dst == g.last {
		return g.answer.to, g.answer.ok
	}
	v, known := g.seen[dst]
	if !known {
		v = g.ask(s, dst)
		if g.seen == nil {
			g.seen = make(map[M.Socksaddr]verdict)
		}
		if len(g.seen) >= guardCache {
			clear(g.seen)
		}
		g.seen[dst] = v
	}
	g.last, g.answer = dst, v
	return v.to, v.ok
}

func (g *guard) ask(s *state, dst M.Socksaddr) verdict {
	md := g.md
	if md.Destination != dst {
		md.Destination, md.Addresses, md.Domain = dst, nil, ""
	}
	v := verdict{to: dst}
	if s.table.NeedsAddresses(&md) {
		ctx, cancel := context.WithTimeout(context.Background(), constant.DNSTimeout)
		defer cancel()
		addrs, err := g.router.resolver.Lookup(ctx, md.Inbound, dst.Fqdn)
		if err != nil {
			return v
		}
		// A name that is resolved again later may answer with what the rules forbid.
		md.Addresses = addrs[:1]
		v.to = M.Socksaddr{Addr: addrs[0], Port: dst.Port}
	}
	d, blocked := s.table.Blocked(&md)
	if blocked {
		g.router.denied(context.Background(), &md, d)
	}
	v.ok = !blocked
	return v
}
