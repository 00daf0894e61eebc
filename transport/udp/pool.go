package udp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/tcp"
)

// Handler takes the datagrams of an address. Its methods are called by several goroutines at once and
// must not wait for anything: others' datagrams come behind.
type Handler interface {
	// HandlePacket gets a datagram that came on s. It owns d.Buffer. False says that it was for somebody
	// else, and is listened to only once the listener has retired.
	HandlePacket(s *netio.PacketSocket, d netio.Datagram) bool
	// Knows says whether the handler has a session with that client: a retired one gets only such
	// datagrams.
	Knows(from netip.AddrPort) bool
}

// Pool shares sockets by address: an inbound that takes another's place on the same address first
// opens its listener, which takes the sockets over, and then the old one retires. The port stays open
// all the time and no datagram is lost. The zero value is ready to use; its methods are safe for
// concurrent use.
type Pool struct {
	mu    sync.Mutex
	ports map[key]*port
}

// key is what makes two listeners share sockets. Other socket options are those of the first owner.
type key struct {
	addr   netip.AddrPort
	device string
}

// Listen binds each address of o, or takes over its sockets, and hands what comes to h. The caller
// closes the listeners. On an error nothing is left open. Port 0 is never shared.
func (p *Pool) Listen(ctx context.Context, o *option.Listen, h Handler) ([]*Listener, error) {
	addrs, err := tcp.Addresses(o)
	if err != nil {
		return nil, err
	}
	var all []*Listener
	for _, addr := range addrs {
		l, err := p.open(ctx, o, addr, h)
		if err != nil {
			for _, l := range all {
				err = errors.Join(err, l.Close())
			}
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

func (p *Pool) open(ctx context.Context, o *option.Listen, addr netip.AddrPort, h Handler) (*Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := key{addr, o.BindInterface}
	s := p.ports[k]
	if s == nil {
		sockets, err := listen(ctx, o, addr, loops(len(p.ports)))
		if err != nil {
			return nil, err
		}
		s = newPort(sockets)
		if addr.Port() != 0 {
			if p.ports == nil {
				p.ports = make(map[key]*port)
			}
			p.ports[k] = s
		}
	}
	l := &Listener{pool: p, key: k, port: s, handler: h}
	s.change(func(owners []owner) []owner { return append(owners, owner{listener: l}) })
	return l, nil
}

// owner is a listener as the loops see it.
type owner struct {
	listener *Listener
	retired  bool
}

// port is the sockets of one address, with a goroutine each.
type port struct {
	sockets []*netio.PacketSocket
	owners  atomic.Pointer[[]owner] // in the order they came; changed under Pool.mu
	busy    []sync.Mutex            // one for each loop, held while handlers run
	closing chan struct{}
	done    sync.WaitGroup
}

func newPort(sockets []*netio.PacketSocket) *port {
	s := &port{sockets: sockets, busy: make([]sync.Mutex, len(sockets)), closing: make(chan struct{})}
	s.owners.Store(new([]owner))
	for i := range sockets {
		s.done.Go(func() {
			netio.Receive(sockets[i], s.closing, func(batch *netio.Batch) bool {
				s.serve(sockets[i], &s.busy[i], batch)
				return true
			})
		})
	}
	return s
}

// change replaces the owners and returns once no loop knows the old ones.
func (s *port) change(f func([]owner) []owner) {
	next := f(slices.Clone(*s.owners.Load()))
	s.owners.Store(&next)
	for i := range s.busy {
		s.busy[i].Lock()
		s.busy[i].Unlock() //nolint:staticcheck // waits for the batch under way
	}
}

// serve hands a batch to whoever owns the address.
func (s *port) serve(socket *netio.PacketSocket, busy *sync.Mutex, batch *netio.Batch) {
	busy.Lock()
	owners := *s.owners.Load()
	datagrams := batch.Datagrams()
	for i := range datagrams {
		d := datagrams[i]
		datagrams[i].Buffer = nil
		hand(owners, socket, d)
	}
	busy.Unlock()
	batch.Put()
}

// hand gives d to a retired owner who knows its client, else to the newest one.
func hand(owners []owner, socket *netio.PacketSocket, d netio.Datagram) {
	var newest Handler
	for i := range owners {
		h := owners[i].listener.handler
		if !owners[i].retired {
			newest = h
			continue
		}
		if !h.Knows(d.From) {
			continue
		}
		twin := d
		twin.Buffer = netio.Clone(d.Buffer) // the handler works in place
		if h.HandlePacket(socket, twin) {
			netio.Put(d.Buffer)
			return
		}
	}
	if newest == nil {
		netio.Put(d.Buffer)
		return
	}
	newest.HandlePacket(socket, d)
}

// Listener is one owner of an address.
type Listener struct {
	pool    *Pool
	key     key
	port    *port
	handler Handler
	closed  bool // guarded by Pool.mu
}

// Addr is the address it listens on.
func (l *Listener) Addr() net.Addr { return l.port.sockets[0].LocalAddr() }

// Retire leaves new clients to a newer owner; when it returns, the handler gets only datagrams of
// clients it knows. The address stays open until Close.
func (l *Listener) Retire() {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.port.change(func(owners []owner) []owner {
		for i := range owners {
			if owners[i].listener == l {
				owners[i].retired = true
			}
		}
		return owners
	})
}

// Close gives the address up, and closes its sockets when nobody else has it. When it returns, the
// handler gets nothing any more; it must not be called from the handler.
func (l *Listener) Close() error {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	l.closed = true
	l.port.change(func(owners []owner) []owner {
		return slices.DeleteFunc(owners, func(o owner) bool { return o.listener == l })
	})
	if len(*l.port.owners.Load()) > 0 {
		return nil
	}
	if l.pool.ports[l.key] == l.port {
		delete(l.pool.ports, l.key)
	}
	close(l.port.closing)
	err := closeAll(l.port.sockets)
	l.port.done.Wait()
	return err
}
