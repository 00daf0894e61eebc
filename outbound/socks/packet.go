package socks

import (
	"errors"
	"net"
	"syscall"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
	"heki/internal/protocol/socks"
	"heki/internal/protocol/wire"
)

var (
	_ N.PacketConn       = (*packetConn)(nil)
	_ N.PacketReadWaiter = (*packetConn)(nil)
)

// packetConn is one association. Reading holds no buffer while nothing comes.
type packetConn struct {
	*net.UDPConn
	waiter  *netio.PacketWaiter
	control *netio.Conn
	watched chan struct{} // closed once nobody reads control
	host    string        // the last host read: the next is most often the same
}

// newPacketConn owns both. The association ends with control: RFC 1928 §6.
func newPacketConn(socket *net.UDPConn, control *netio.Conn) (*packetConn, error) {
	w, err := netio.NewPacketWaiter(socket)
	if err != nil {
		_ = socket.Close()
		_ = control.Close()
		return nil, err
	}
	c := &packetConn{UDPConn: socket, waiter: w, control: control, watched: make(chan struct{})}
	go func() {
		defer close(c.watched)
		for { // the server has nothing more to say
			b, err := control.WaitReadBuffer()
			if err != nil {
				_ = socket.Close()
				return
			}
			netio.Put(b)
		}
	}()
	return c, nil
}

// Close ends the association.
func (c *packetConn) Close() error {
	err := errors.Join(c.UDPConn.Close(), c.control.Close())
	<-c.watched
	return err
}

// take decodes the header of a datagram. What is no answer of the server is not ok.
func (c *packetConn) take(b *buf.Buffer) (M.Socksaddr, bool) {
	from, n, err := socks.ParseDatagram(b.Bytes(), c.host)
	if err != nil {
		return M.Socksaddr{}, false
	}
	if from.Fqdn != "" {
		c.host = from.Fqdn
	}
	b.Advance(n)
	return from, true
}

// InitializeReadWaiter implements N.PacketReadWaiter.
func (c *packetConn) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

// WaitReadPacket implements N.PacketReadWaiter.
func (c *packetConn) WaitReadPacket() (*buf.Buffer, M.Socksaddr, error) {
	for {
		b, _, err := c.waiter.Wait()
		if err != nil {
			return nil, M.Socksaddr{}, err
		}
		if from, ok := c.take(b); ok {
			return b, from, nil
		}
		netio.Put(b)
	}
}

// ReadPacket implements N.PacketReader.
func (c *packetConn) ReadPacket(b *buf.Buffer) (M.Socksaddr, error) {
	start := b.Start()
	for {
		n, err := c.Read(b.FreeBytes())
		if errors.Is(err, syscall.ECONNREFUSED) {
			continue // an ICMP answer to an earlier datagram ends nothing
		}
		if err != nil {
			return M.Socksaddr{}, err
		}
		b.Truncate(b.Len() + n)
		if from, ok := c.take(b); ok {
			return from, nil
		}
		b.Resize(start, 0)
	}
}

// WritePacket implements N.PacketWriter. It owns b. What cannot be sent loses the packet, not the session.
func (c *packetConn) WritePacket(b *buf.Buffer, dst M.Socksaddr) error {
	size := socks.DatagramHeader(dst)
	b = wire.Headroom(b, size)
	defer func() { b.Release() }()
	socks.AppendDatagram(b.ExtendHeader(size)[:0], dst)
	if _, err := c.Write(b.Bytes()); errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// FrontHeadroom is the most that WritePacket puts before a packet.
func (c *packetConn) FrontHeadroom() int { return socks.MaxDatagramHeader }
