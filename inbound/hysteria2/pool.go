package hysteria2

import (
	"context"
	stdtls "crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/sagernet/quic-go"

	"heki/transport/tcp"
	"heki/transport/udp"
)

// socketBuffer is how large socket buffers should be in bytes: what quic-go and official servers ask for.
const socketBuffer = 7 << 20

// Pool shares sockets by address: an inbound that takes another's place accepts on the socket that the
// other one's connections live on. The zero value is ready; its methods are safe for concurrent use.
type Pool struct {
	mu    sync.Mutex
	ports map[portKey]*port
	stale sync.Once // what a crashed process left is removed
}

type portKey struct {
	addr   netip.AddrPort
	device string
}

// port is the socket of one address.
type port struct {
	key       portKey
	own       uint16 // as bound
	hops      hops   // guarded by Pool.mu
	secret    string // of Salamander; empty is none
	transport *quic.Transport
	quic      *quic.Listener
	conn      net.PacketConn
	done      sync.WaitGroup // for the accepting goroutine

	mu        sync.Mutex
	acceptors []*Inbound // the last one gets new connections
	users     int        // listeners that are not closed
	dead      bool       // taken down for another secret or other ports
}

// listener is an inbound's part of a port.
type listener struct {
	pool *Pool
	port *port
	in   *Inbound
	once sync.Once
}

// listen binds the addresses of in, or takes over their sockets. On an error nothing is left open.
func (p *Pool) listen(ctx context.Context, in *Inbound) ([]*listener, error) {
	p.stale.Do(func() {
		gone, err := removeStale()
		in.log.Debug("nftables tables of a process that crashed", "removed", gone, "err", err)
	})
	addrs, err := tcp.Addresses(&in.o.Listen)
	if err != nil {
		return nil, err
	}
	var all []*listener
	for _, addr := range addrs {
		l, err := p.open(ctx, in, addr)
		if err != nil {
			for _, l := range all {
				l.retire()
				l.close()
			}
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

func (p *Pool) open(ctx context.Context, in *Inbound, addr netip.AddrPort) (*listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := portKey{addr, in.o.BindInterface}
	secret := ""
	if in.o.Obfs != nil {
		secret = in.o.Obfs.Password
	}
	shared := p.ports[key]
	if shared != nil && (shared.secret != secret || !shared.hops.follow(in, key, shared.own)) {
		in.log.Info("obfs or listen_ports has changed, which ends the open connections", "address", addr.String())
		shared.takeDown(in)
		delete(p.ports, key)
		shared = nil
	}
	if shared == nil {
		var err error
		if shared, err = newPort(ctx, in, key, secret); err != nil {
			return nil, err
		}
		if addr.Port() != 0 {
			if p.ports == nil {
				p.ports = make(map[portKey]*port)
			}
			p.ports[key] = shared
		}
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	shared.acceptors = append(shared.acceptors, in)
	shared.users++
	return &listener{pool: p, port: shared, in: in}, nil
}

// newPort binds one address.
func newPort(ctx context.Context, in *Inbound, key portKey, secret string) (*port, error) {
	addr := key.addr
	conn, err := udp.Bind(ctx, &in.o.Listen, addr, in.o.ReuseAddr)
	if addr.Addr() == netip.IPv6Unspecified() && errors.Is(err, syscall.EAFNOSUPPORT) {
		addr = netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port())
		conn, err = udp.Bind(ctx, &in.o.Listen, addr, in.o.ReuseAddr)
	}
	if err != nil {
		return nil, err
	}
	if got, err := udp.Raise(conn, socketBuffer); err != nil || got < socketBuffer {
		in.log.Warn("the UDP socket's buffers are too small for fast transfers; raise them with: sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000",
			"wanted_kib", socketBuffer>>10, "got_kib", got>>10, "err", err)
	}
	s := &port{key: key, secret: secret, own: uint16(conn.LocalAddr().(*net.UDPAddr).Port)}
	h, more := openHops(ctx, in, key, s.own)
	s.hops, s.conn = h, conn
	if secret != "" || len(more) > 0 {
		if err := udp.DontFragment(conn); err != nil {
			in.log.Debug("socket options", "err", err)
		}
		if s.conn, err = newSockets(append([]*net.UDPConn{conn}, more...), secret); err != nil {
			s.hops.end(in, s.key, s.own)
			return nil, err
		}
	}
	s.transport = &quic.Transport{Conn: s.conn, DisableVersionNegotiationPackets: secret != ""}
	s.quic, err = s.transport.Listen(&stdtls.Config{GetConfigForClient: s.tlsConfig}, in.quic)
	if err != nil {
		s.hops.end(in, s.key, s.own)
		return nil, errors.Join(err, s.conn.Close())
	}
	s.done.Go(s.loop)
	return s, nil
}

// errNobody ends handshakes on a port whose inbound has gone.
var errNobody = errors.New("nobody accepts connections")

func (s *port) tlsConfig(*stdtls.ClientHelloInfo) (*stdtls.Config, error) {
	if in := s.acceptor(); in != nil {
		return in.tls, nil
	}
	return nil, errNobody
}

// acceptor gets new connections; nil: nobody does.
func (s *port) acceptor() *Inbound {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.acceptors); n > 0 {
		return s.acceptors[n-1]
	}
	return nil
}

// loop hands connections out.
func (s *port) loop() {
	for {
		conn, err := s.quic.Accept(context.Background())
		if err != nil {
			return // the listener is closed
		}
		if in := s.acceptor(); in != nil {
			in.accept(conn)
		} else {
			_ = conn.CloseWithError(codeNoError, "")
		}
	}
}

// takeDown closes the socket and all connections on it. It is called under Pool.mu.
func (s *port) takeDown(in *Inbound) {
	s.mu.Lock()
	dead := s.dead
	s.dead = true
	s.mu.Unlock()
	if dead {
		return
	}
	s.hops.end(in, s.key, s.own)
	_ = s.quic.Close()
	_ = s.transport.Close()
	_ = s.conn.Close()
	s.done.Wait()
}

// addr is the address as bound.
func (l *listener) addr() net.Addr { return l.port.conn.LocalAddr() }

// retire gets no new connections.
func (l *listener) retire() {
	s := l.port
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.acceptors, l.in); i >= 0 {
		s.acceptors = slices.Delete(s.acceptors, i, i+1)
	}
}

// close gives the port up, which closes with its last listener. The inbound has no connection on it any
// more.
func (l *listener) close() {
	l.once.Do(func() {
		l.pool.mu.Lock()
		defer l.pool.mu.Unlock()
		s := l.port
		s.mu.Lock()
		s.users--
		last := s.users == 0
		s.mu.Unlock()
		if !last {
			return
		}
		if l.pool.ports[s.key] == s {
			delete(l.pool.ports, s.key)
		}
		s.takeDown(l.in)
	})
}
