package tcp

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"heki/option"
)

// Pool shares listening sockets by address: an inbound that takes another's place on the same address
// first opens its listener, which takes the socket over, and then the old one closes its own. The port
// stays open all the time, and a connection that nobody has accepted yet goes to the new owner. The
// zero value is ready to use; its methods are safe for concurrent use.
type Pool struct {
	mu      sync.Mutex
	sockets map[key]*socket
}

// key is what makes two listeners share a socket. Other socket options are those of the first owner.
type key struct {
	addr   netip.AddrPort
	device string
}

// Listen is like the function Listen on the sockets of p. Close of a listener ends its own Accept at
// once and, with the last listener of an address, the socket. Port 0 is never shared.
func (p *Pool) Listen(ctx context.Context, o *option.Listen) ([]net.Listener, error) {
	return each(o, func(addr netip.AddrPort) (net.Listener, error) { return p.open(ctx, o, addr) })
}

func (p *Pool) open(ctx context.Context, o *option.Listen, addr netip.AddrPort) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := key{addr, o.BindInterface}
	s := p.sockets[k]
	if s == nil {
		l, err := listen(ctx, o, addr)
		if err != nil {
			return nil, err
		}
		s = newSocket(l)
		if addr.Port() == 0 {
			k = key{}
		} else {
			if p.sockets == nil {
				p.sockets = make(map[key]*socket)
			}
			p.sockets[k] = s
		}
	}
	s.owners++
	return &listener{pool: p, key: k, socket: s}, nil
}

// release gives one reference up. The port is free when the last one returns.
func (p *Pool) release(l *listener) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := l.socket
	if s.owners--; s.owners > 0 {
		return nil
	}
	if p.sockets[l.key] == s {
		delete(p.sockets, l.key)
	}
	return s.close()
}

// socket is one listening socket with a goroutine that accepts for whoever owns it. That goroutine
// has at most one connection at hand, so that the rest queues in the kernel.
type socket struct {
	net.Listener
	owners int // guarded by Pool.mu
	done   sync.WaitGroup

	mu     sync.Mutex
	change sync.Cond // of the fields below, and of a listener's closed
	conn   net.Conn  // accepted, waiting for an owner
	err    error     // the same of an error
	closed bool
}

func newSocket(l net.Listener) *socket {
	s := &socket{Listener: l}
	s.change.L = &s.mu
	s.done.Go(s.run)
	return s
}

func (s *socket) run() {
	for {
		conn, err := s.Listener.Accept()
		s.mu.Lock()
		s.conn, s.err = conn, err
		s.change.Broadcast()
		for (s.conn != nil || s.err != nil) && !s.closed {
			s.change.Wait()
		}
		closed, left := s.closed, s.conn
		s.mu.Unlock()
		if closed {
			if left != nil {
				_ = left.Close()
			}
			return
		}
	}
}

func (s *socket) close() error {
	s.mu.Lock()
	s.closed = true
	s.change.Broadcast()
	s.mu.Unlock()
	err := s.Listener.Close()
	s.done.Wait()
	return err
}

// listener is one reference to a socket.
type listener struct {
	pool   *Pool
	key    key
	socket *socket
	closed bool // guarded by socket.mu
}

func (l *listener) Addr() net.Addr { return l.socket.Addr() }

// Accept implements net.Listener. Errors of the socket reach one owner each.
func (l *listener) Accept() (net.Conn, error) {
	s := l.socket
	s.mu.Lock()
	defer s.mu.Unlock()
	for !l.closed && s.conn == nil && s.err == nil {
		s.change.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: s.Addr(), Err: net.ErrClosed}
	}
	conn, err := s.conn, s.err
	s.conn, s.err = nil, nil
	s.change.Broadcast()
	return conn, err
}

// Close implements net.Listener.
func (l *listener) Close() error {
	s := l.socket
	s.mu.Lock()
	if l.closed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	l.closed = true
	s.change.Broadcast()
	s.mu.Unlock()
	return l.pool.release(l)
}
