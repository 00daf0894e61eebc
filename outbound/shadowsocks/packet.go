package shadowsocks

import (
	"errors"
	"net"
	"syscall"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
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

// packetConn is a socket that speaks with the server alone. Reading holds no buffer while nothing comes.
// Reading and writing are for one goroutine each.
type packetConn struct {
	*net.UDPConn
	waiter *netio.PacketWaiter
	sealer sealer
}

// newPacketConn owns socket.
func newPacketConn(socket *net.UDPConn, s sealer) (*packetConn, error) {
	w, err := netio.NewPacketWaiter(socket)
	if err != nil {
		_ = socket.Close()
		return nil, err
	}
	return &packetConn{UDPConn: socket, waiter: w, sealer: s}, nil
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
		if from, ok := c.sealer.open(b); ok {
			return b, from, nil
		}
		netio.Put(b)
	}
}

// ReadPacket implements N.PacketReader. b has room for a whole datagram, else that may be lost.
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
		if from, ok := c.sealer.open(b); ok {
			return from, nil
		}
		b.Resize(start, 0)
	}
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
