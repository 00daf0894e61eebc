package socks

import (
	"errors"
	"net"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
	"heki/internal/protocol/socks"
	"heki/internal/protocol/wire"
	"heki/outbound/internal/remote"
)

var (
	_ N.PacketConn       = (*packetConn)(nil)
	_ N.PacketReadWaiter = (*packetConn)(nil)
)

// packetConn is one association.
type packetConn struct {
	remote.Datagrams
	control *netio.Conn
	watched chan struct{} // closed once nobody reads control
	host    string        // the last host read: the next is most often the same
}

// newPacketConn owns both. The association ends with control: RFC 1928 §6.
func newPacketConn(socket *net.UDPConn, control *netio.Conn) (*packetConn, error) {
	c := &packetConn{control: control, watched: make(chan struct{})}
	var err error
	if c.Datagrams, err = remote.NewDatagrams(socket, c.take); err != nil {
		_ = control.Close()
		return nil, err
	}
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
