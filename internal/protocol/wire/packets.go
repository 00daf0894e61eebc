package wire

import (
	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
)

// Packets reads packets, each of which stands behind a header of its own in a stream. It implements
// N.PacketReader and N.PacketReadWaiter for the packet connection that it is part of, for one goroutine at a
// time. After a timeout reading goes on with a whole packet; a malformed header is final, since the next one
// cannot be found.
type Packets struct {
	body    *Body
	next    func() (M.Socksaddr, error)
	options N.ReadWaitOptions
}

// NewPackets reads payloads from body. next waits for a header, consumes it with body.Begin and returns the
// packet's address.
func NewPackets(body *Body, next func() (M.Socksaddr, error)) Packets {
	return Packets{body: body, next: next}
}

// ReadPacket implements N.PacketReader. A packet for which buffer has no room is lost.
func (p *Packets) ReadPacket(buffer *buf.Buffer) (M.Socksaddr, error) {
	for {
		addr, err := p.next()
		if err != nil {
			return M.Socksaddr{}, err
		}
		if ok, err := p.body.ReadTo(buffer); ok || err != nil {
			return addr, err
		}
	}
}

// InitializeReadWaiter implements N.PacketReadWaiter.
func (p *Packets) InitializeReadWaiter(options N.ReadWaitOptions) bool {
	p.options = options
	return false
}

// WaitReadPacket implements N.PacketReadWaiter. No buffer is held while it waits.
func (p *Packets) WaitReadPacket() (*buf.Buffer, M.Socksaddr, error) {
	addr, err := p.next()
	if err != nil {
		return nil, M.Socksaddr{}, err
	}
	b, err := p.body.ReadBuffer(p.options)
	return b, addr, err
}
