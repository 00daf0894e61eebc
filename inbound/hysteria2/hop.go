package hysteria2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"heki/option"
	"heki/transport/udp"
)

// maxHopSockets bounds the sockets of an address that serve more ports where nftables does not.
const maxHopSockets = 1024

// hops is how a port serves the ports that clients hop among.
type hops struct {
	ranges  []option.PortRange // without the inbound's own port
	sockets bool               // each has a socket; else nftables redirects
}

// rangesOf are the ports beside its own that in is to serve.
func rangesOf(in *Inbound, own uint16) []option.PortRange { return without(in.o.Ports(), own) }

// openHops makes the ranges lead to own. It returns the sockets of those that nftables does not
// redirect; that too few are there ends nothing, as clients hop on.
func openHops(ctx context.Context, in *Inbound, key portKey, own uint16) (hops, []*net.UDPConn) {
	h := hops{ranges: rangesOf(in, own)}
	if len(h.ranges) == 0 {
		return h, nil
	}
	err := redirect(key, own, h.ranges)
	if err == nil {
		in.log.Info("port hopping by an nftables redirect", "ports", fmt.Sprint(h.ranges), "table", tableName(key, own))
		return h, nil
	}
	h.sockets = true
	more, left, first := bindHops(ctx, in, key, h.ranges)
	in.log.Info("port hopping by more sockets, without segmentation offload; nftables, which costs nothing, needs CAP_NET_ADMIN and the program nft",
		"ports", fmt.Sprint(h.ranges), "sockets", len(more), "err", err)
	if left > 0 {
		in.log.Warn("some ports of listen_ports are not served: clients that hop there get no answer until they hop on",
			"ports", left, "most", maxHopSockets, "err", first)
	}
	return h, more
}

// bindHops binds as many ports as it may. It returns how many are left, and why the first one is.
func bindHops(ctx context.Context, in *Inbound, key portKey, ranges []option.PortRange) (bound []*net.UDPConn, left int, first error) {
	for _, r := range ranges {
		for port := int(r.First); port <= int(r.Last); port++ {
			if len(bound) == maxHopSockets {
				left++
				continue
			}
			c, err := udp.Bind(ctx, &in.o.Listen, netip.AddrPortFrom(key.addr.Addr(), uint16(port)), in.o.ReuseAddr)
			if err != nil {
				left++
				if first == nil {
					first = err
				}
				continue
			}
			_, err = udp.Raise(c, socketBuffer)
			if err = errors.Join(err, udp.DontFragment(c)); err != nil {
				in.log.Debug("socket options", "port", port, "err", err)
			}
			bound = append(bound, c)
		}
	}
	return bound, left, first
}

// follow serves the ranges of in, which takes the port over. False: the port must be opened anew.
func (h *hops) follow(in *Inbound, key portKey, own uint16) bool {
	next := rangesOf(in, own)
	switch {
	case slices.Equal(next, h.ranges):
		return true
	case h.sockets:
		return false
	case len(next) == 0:
		h.end(in, key, own)
	default:
		if err := redirect(key, own, next); err != nil {
			return false
		}
		in.log.Info("port hopping by an nftables redirect", "ports", fmt.Sprint(next), "table", tableName(key, own))
	}
	h.ranges = next
	return true
}

// end removes the redirect.
func (h *hops) end(in *Inbound, key portKey, own uint16) {
	if len(h.ranges) == 0 || h.sockets {
		return
	}
	h.ranges = nil
	if err := endRedirect(key, own); err != nil {
		in.log.Warn("the nftables redirect of port hopping stays", "table", tableName(key, own), "err", err)
	}
}
