package remote

import (
	"errors"
	"net"
	"syscall"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
)

// Datagrams is a socket that speaks with a server alone, each of whose datagrams carries a packet. It is the
// reading half of a packet connection, for one goroutine at a time, and holds no buffer while nothing comes.
type Datagrams struct {
	*net.UDPConn
	waiter *netio.PacketWaiter
	open   func(b *buf.Buffer) (M.Socksaddr, bool)
}

// NewDatagrams owns socket. open leaves the payload of a datagram in b; what is none of the server's is not
// ok, and passed over.
func NewDatagrams(socket *net.UDPConn, open func(b *buf.Buffer) (from M.Socksaddr, ok bool)) (Datagrams, error) {
	w, err := netio.NewPacketWaiter(socket)
	if err != nil {
		_ = socket.Close()
		return Datagrams{}, err
	}
	return Datagrams{UDPConn: socket, waiter: w, open: open}, nil
}

// InitializeReadWaiter implements N.PacketReadWaiter.
func (d *Datagrams) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

// WaitReadPacket implements N.PacketReadWaiter.
func (d *Datagrams) WaitReadPacket() (*buf.Buffer, M.Socksaddr, error) {
	for {
		b, _, err := d.waiter.Wait()
		if err != nil {
			return nil, M.Socksaddr{}, err
		}
		if from, ok := d.open(b); ok {
			return b, from, nil
		}
		netio.Put(b)
	}
}

// ReadPacket implements N.PacketReader. b has room for a whole datagram, else that may be lost.
func (d *Datagrams) ReadPacket(b *buf.Buffer) (M.Socksaddr, error) {
	start := b.Start()
	for {
		n, err := d.Read(b.FreeBytes())
		if errors.Is(err, syscall.ECONNREFUSED) {
			continue // an ICMP answer to an earlier datagram ends nothing
		}
		if err != nil {
			return M.Socksaddr{}, err
		}
		b.Truncate(b.Len() + n)
		if from, ok := d.open(b); ok {
			return from, nil
		}
		b.Resize(start, 0)
	}
}
