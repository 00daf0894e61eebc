package direct

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/constant"
	"heki/internal/netio"
)

// names bounds the hosts that one packet session remembers.
const names = 64

// packetConn is one unconnected socket. Reading holds no buffer while nothing comes.
type packetConn struct {
	*net.UDPConn
	waiter   *netio.PacketWaiter
	batches  *netio.BatchReader
	resolver adapter.Resolver
	inbound  string // tag, for the resolver
	strategy string
	v4, v6   bool                  // families the socket can send to
	known    map[string]netip.Addr // hosts this session sent to
}

func newPacketConn(c *net.UDPConn, o *Outbound, md *adapter.Metadata) (*packetConn, error) {
	w, err := netio.NewPacketWaiter(c)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	batches, err := netio.NewBatchReader(c)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	p := &packetConn{UDPConn: c, waiter: w, batches: batches, resolver: o.resolver, inbound: md.Inbound, strategy: o.strategy, v4: true, v6: true}
	local := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	if !local.IsUnspecified() {
		p.v4, p.v6 = local.Unmap().Is4(), !local.Unmap().Is4()
	} else if local.Is4() {
		p.v6 = false
	}
	if len(md.Addresses) > 0 && md.Destination.IsFqdn() {
		_, _ = p.remember(md.Destination.Fqdn, md.Addresses) // what has no address is lost when it is sent
	}
	return p, nil
}

// InitializeReadWaiter implements N.PacketReadWaiter.
func (p *packetConn) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

// WaitReadPacket implements N.PacketReadWaiter. The source is always an address.
func (p *packetConn) WaitReadPacket() (*buf.Buffer, M.Socksaddr, error) {
	b, from, err := p.waiter.Wait()
	if err != nil {
		return nil, M.Socksaddr{}, err
	}
	return b, M.SocksaddrFromNetIP(from), nil
}

// ReadPackets implements netio.PacketsReader.
func (p *packetConn) ReadPackets() (*netio.Batch, error) { return p.batches.Read() }

// ReadPacket implements N.PacketConn.
func (p *packetConn) ReadPacket(b *buf.Buffer) (M.Socksaddr, error) {
	n, from, err := p.ReadFromUDPAddrPort(b.FreeBytes())
	if err != nil {
		return M.Socksaddr{}, err
	}
	b.Truncate(b.Len() + n)
	return M.SocksaddrFromNetIP(netip.AddrPortFrom(from.Addr().Unmap(), from.Port())), nil
}

// WritePacket implements N.PacketConn. A host is resolved once a session, so that a conversation
// stays with one address. A destination that cannot be reached loses the packet, not the session.
func (p *packetConn) WritePacket(b *buf.Buffer, dst M.Socksaddr) error {
	defer b.Release()
	addr := dst.Addr.Unmap()
	if !addr.IsValid() {
		var err error
		if addr, err = p.resolve(dst.Fqdn); err != nil {
			return nil //nolint:nilerr // a name that does not resolve is a lost packet
		}
	}
	_, err := p.WriteToUDPAddrPort(b.Bytes(), netip.AddrPortFrom(addr, dst.Port))
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (p *packetConn) resolve(host string) (netip.Addr, error) {
	if addr, ok := p.known[host]; ok {
		return addr, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), constant.DNSTimeout)
	defer cancel()
	addrs, err := p.resolver.Lookup(ctx, p.inbound, host)
	if err != nil {
		return netip.Addr{}, err
	}
	return p.remember(host, addrs)
}

// remember keeps the first address that the socket can send to.
func (p *packetConn) remember(host string, addrs []netip.Addr) (netip.Addr, error) {
	addrs, err := pick(p.strategy, addrs)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() && !p.v4 || a.Is6() && !p.v6 {
			continue
		}
		if p.known == nil {
			p.known = make(map[string]netip.Addr)
		}
		if len(p.known) >= names {
			clear(p.known)
		}
		p.known[host] = a
		return a, nil
	}
	return netip.Addr{}, fmt.Errorf("no address of %s is of a family the socket can send to", host)
}

var (
	_ N.PacketConn        = (*packetConn)(nil)
	_ N.PacketReadWaiter  = (*packetConn)(nil)
	_ netio.PacketsReader = (*packetConn)(nil)
)
