package route

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/constant"
	"heki/internal/netio"
)

// dnsIdle is how long a session lives that only ever talked to port 53.
const dnsIdle = 30 * time.Second

// RoutePacketConn implements adapter.Router.
func (r *Router) RoutePacketConn(ctx context.Context, conn N.PacketConn, md *adapter.Metadata) error {
	md.Network = constant.NetworkUDP
	return r.admit(ctx, conn, md, func(ctx context.Context, t *task, lease adapter.Lease) error {
		return r.routePackets(ctx, conn, md, t, lease)
	})
}

func (r *Router) routePackets(ctx context.Context, conn N.PacketConn, md *adapter.Metadata, t *task, lease adapter.Lease) error {
	s := r.state.Load()
	in := &packetSource{conn: conn, waiter: packetWaiter(conn)}
	defer in.drop()
	if s.table.NeedsSniff(md) {
		if err := s.sniff.packets(in, md); err != nil {
			return err
		}
	}
	out, err := r.decide(ctx, s, md)
	if err != nil {
		failed(conn, err)
		return err
	}
	defer release(out)
	remote, err := out.ListenPacket(ctx, md)
	if err != nil {
		return r.unreachable(ctx, conn, md, fmt.Errorf("listen for packets to %s: %w", md.Destination, err))
	}
	t.add(remote)
	if err := succeeded(conn); err != nil {
		return errors.Join(err, remote.Close())
	}
	p := &packetRelay{
		client: conn, remote: remote, in: in, lease: lease,
		guard: guard{router: r, md: *md, log: r.log},
	}
	return p.run(idle(md.UDPTimeout, constant.UDPTimeout))
}

// packetSource reads a client's packets, those first that sniffing looked at.
type packetSource struct {
	conn   N.PacketConn
	waiter N.PacketReadWaiter
	ahead  []aheadPacket
}

type aheadPacket struct {
	b   *buf.Buffer
	dst M.Socksaddr
}

func (s *packetSource) next() (*buf.Buffer, M.Socksaddr, error) {
	if len(s.ahead) > 0 {
		p := s.ahead[0]
		s.ahead = s.ahead[1:]
		return p.b, p.dst, nil
	}
	return s.waiter.WaitReadPacket()
}

func (s *packetSource) drop() {
	for _, p := range s.ahead {
		netio.Put(p.b)
	}
	s.ahead = nil
}

// packetWaiter returns conn's own way to wait without a buffer, else one that holds one.
func packetWaiter(conn N.PacketConn) N.PacketReadWaiter {
	if c, ok := conn.(N.PacketReadWaitCreator); ok {
		if w, ok := c.CreateReadWaiter(); ok {
			w.InitializeReadWaiter(netio.Room)
			return w
		}
	}
	if w, ok := conn.(N.PacketReadWaiter); ok {
		w.InitializeReadWaiter(netio.Room)
		return w
	}
	return plainPackets{conn}
}

type plainPackets struct{ N.PacketConn }

func (plainPackets) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

func (p plainPackets) WaitReadPacket() (*buf.Buffer, M.Socksaddr, error) {
	b := netio.GetPacket()
	dst, err := p.ReadPacket(b)
	if err != nil {
		netio.Put(b)
		return nil, M.Socksaddr{}, err
	}
	return netio.Filled(b), dst, nil
}

// packetRelay joins a client's packets with one socket.
type packetRelay struct {
	client, remote N.PacketConn
	in             *packetSource
	lease          adapter.Lease
	guard          guard
	packets        atomic.Int64
	onlyDNS        atomic.Bool
	expired        atomic.Bool
}

// run ends when the client's side ends, the socket fails, or nothing moved for idle.
func (p *packetRelay) run(idle time.Duration) error {
	p.onlyDNS.Store(true)
	w := p.watch(idle)
	var wg sync.WaitGroup
	var up, down error
	wg.Go(func() {
		up = p.up()
		p.close()
	})
	down = p.down()
	p.close()
	wg.Wait()
	w.stop()
	switch {
	case p.expired.Load():
		return netio.ErrIdle
	case up == io.EOF || errors.Is(up, net.ErrClosed):
		return nil
	case up != nil:
		return up
	}
	return down
}

func (p *packetRelay) close() {
	_ = p.client.Close()
	_ = p.remote.Close()
}

func (p *packetRelay) up() error {
	for {
		b, dst, err := p.in.next()
		if err != nil {
			return err
		}
		n := int64(b.Len())
		if dst.Port != 53 && p.onlyDNS.Load() {
			p.onlyDNS.Store(false)
		}
		to, ok := p.guard.check(dst)
		if !ok {
			netio.Put(b)
			continue
		}
		err = p.remote.WritePacket(b, to)
		netio.Put(b)
		if err != nil {
			return err
		}
		p.packets.Add(1)
		p.lease.Up(n)
	}
}

func (p *packetRelay) down() error {
	if r, ok := p.remote.(netio.PacketsReader); ok {
		return p.downMany(r)
	}
	w := packetWaiter(p.remote)
	for {
		b, src, err := w.WaitReadPacket()
		if err != nil {
			return err
		}
		n := int64(b.Len())
		err = p.client.WritePacket(b, src)
		netio.Put(b)
		if err != nil {
			return err
		}
		p.packets.Add(1)
		p.lease.Down(n)
	}
}

// downMany is down for an outbound that hands over what has come together.
func (p *packetRelay) downMany(r netio.PacketsReader) error {
	client, many := p.client.(netio.PacketsWriter)
	for {
		batch, err := r.ReadPackets()
		if err != nil {
			return err
		}
		packets := batch.Datagrams()
		var n int64
		for i := range packets {
			n += int64(packets[i].Buffer.Len())
		}
		if many {
			err = client.WritePackets(packets)
		} else {
			err = p.writeEach(packets)
		}
		moved := len(packets)
		batch.Put() // before Down, which may sleep
		if err != nil {
			return err
		}
		p.packets.Add(int64(moved))
		p.lease.Down(n)
	}
}

// writeEach gives each buffer back once it is written: the next write may wait for the client.
func (p *packetRelay) writeEach(packets []netio.Datagram) error {
	for i := range packets {
		d := &packets[i]
		err := p.client.WritePacket(d.Buffer, M.SocksaddrFromNetIP(d.From))
		netio.Put(d.Buffer)
		d.Buffer = nil
		if err != nil {
			return err
		}
	}
	return nil
}

// packetWatch ends a session on which no packet moved for a while.
type packetWatch struct {
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// watch looks four times in each idle period, so that the data path tells no time.
func (p *packetRelay) watch(idle time.Duration) *packetWatch {
	w := new(packetWatch)
	if idle <= 0 {
		return w
	}
	var seen int64
	var quiet time.Duration
	step := min(idle, dnsIdle) / 4
	look := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.stopped {
			return
		}
		limit := idle
		if p.onlyDNS.Load() {
			limit = min(idle, dnsIdle)
		}
		if now := p.packets.Load(); now != seen {
			seen, quiet = now, 0
		} else {
			quiet += step
		}
		if quiet >= limit {
			p.expired.Store(true)
			go p.close()
			return
		}
		w.timer.Reset(step)
	}
	w.mu.Lock()
	w.timer = time.AfterFunc(step, look)
	w.mu.Unlock()
	return w
}

func (w *packetWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}
