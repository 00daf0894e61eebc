package shadowsocks

import (
	"errors"
	"net"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
	"heki/outbound/internal/remote"
)

var (
	_ N.PacketConn       = (*packetConn)(nil)
	_ N.PacketReadWaiter = (*packetConn)(nil)
)

// sealer seals what is sent, and opens what comes, in one session. Each of the two is for one goroutine
// at a time.
type sealer interface {
	// seal makes a datagram of b, which it owns, for the caller to release.
	seal(b *buf.Buffer, dst M.Socksaddr) *buf.Buffer
	// open leaves the payload of a datagram in b. What is none of the session's is not ok.
	open(b *buf.Buffer) (from M.Socksaddr, ok bool)
}

// packetConn is one session. Reading and writing are for one goroutine each.
type packetConn struct {
	remote.Datagrams
	sealer sealer
}

// newPacketConn owns socket.
func newPacketConn(socket *net.UDPConn, s sealer) (*packetConn, error) {
	d, err := remote.NewDatagrams(socket, s.open)
	if err != nil {
		return nil, err
	}
	return &packetConn{Datagrams: d, sealer: s}, nil
}

// WritePacket implements N.PacketWriter. It owns b. What cannot be sent loses the packet, not the session.
func (c *packetConn) WritePacket(b *buf.Buffer, dst M.Socksaddr) error {
	d := c.sealer.seal(b, dst)
	_, err := c.Write(d.Bytes())
	d.Release()
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// FrontHeadroom is what a packet needs in front at most, the destination being an IP.
func (c *packetConn) FrontHeadroom() int { return netio.Headroom }

// RearHeadroom is what a packet needs behind.
func (c *packetConn) RearHeadroom() int { return tagSize }

// window leaves payload, which was opened in place, in the datagram b: n bytes into what was sealed, whose
// tag was last.
func window(b *buf.Buffer, plain []byte, n int) {
	b.Advance(b.Len() - tagSize - len(plain) + n)
	b.Truncate(len(plain) - n)
}
