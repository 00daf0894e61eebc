package route

import (
	"context"
	"log/slog"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/constant"
	"heki/route/rule"
)

// guardCache bounds the destinations that one session remembers.
const guardCache = 256

// guard asks the rules about every new destination of a packet session. Deciding once for a session
// would let its first destination vouch for all others.
type guard struct {
	router *Router
	md     adapter.Metadata
	log    *slog.Logger
	table  *rule.Table
	last   M.Socksaddr
	ok     bool
	seen   map[M.Socksaddr]bool
}

// allows says whether a packet may go to dst. It is for one goroutine.
func (g *guard) allows(dst M.Socksaddr) bool {
	s := g.router.state.Load()
	if s.table != g.table { // the rules changed: ask again
		g.table, g.seen, g.last = s.table, nil, M.Socksaddr{}
	}
	if dst == g.last {
		return g.ok
	}
	ok, known := g.seen[dst]
	if !known {
		ok = g.ask(s, dst)
		if g.seen == nil {
			g.seen = make(map[M.Socksaddr]bool)
		}
		if len(g.seen) >= guardCache {
			clear(g.seen)
		}
		g.seen[dst] = ok
	}
	g.last, g.ok = dst, ok
	return ok
}

func (g *guard) ask(s *state, dst M.Socksaddr) bool {
	md := g.md
	if md.Destination != dst {
		md.Destination, md.Addresses, md.Domain = dst, nil, ""
	}
	if s.table.NeedsAddresses(&md) {
		ctx, cancel := context.WithTimeout(context.Background(), constant.DNSTimeout)
		defer cancel()
		addrs, err := g.router.resolver.Lookup(ctx, dst.Fqdn)
		if err != nil {
			return false
		}
		md.Addresses = addrs
	}
	d, blocked := s.table.Blocked(&md)
	if blocked {
		g.log.LogAttrs(context.Background(), slog.LevelInfo, "denied", slog.Any("conn", &md), slog.String("rule", d.Rule()))
	}
	return !blocked
}
