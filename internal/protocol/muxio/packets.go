package muxio

import (
	"net"
	"os"
	"sync"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

const (
	// PacketQueue is how many packets may wait for one session's reader.
	PacketQueue = 64
	// PacketBytes is the same in bytes.
	PacketBytes = 512 << 10
)

// Packets holds what has come for one packet session until its reader takes it. It is bounded, and
// drops what finds it full. Call Init first.
type Packets struct {
	deadline *wire.Deadline
	ready    chan struct{} // there is something to read, or the end

	mu      sync.Mutex
	queue   Fifo[packet]
	size    int // what queue costs in bytes
	err     error
	closed  bool
	options N.ReadWaitOptions
}

// packet is one datagram.
type packet struct {
	b  *buf.Buffer
	to M.Socksaddr
}

// Init prepares the queue. deadline is the one for reading.
func (p *Packets) Init(deadline *wire.Deadline) {
	p.deadline, p.ready = deadline, make(chan struct{}, 1)
}

// Room returns an empty buffer for a packet of length bytes, for Put, or nil when it would be dropped.
func (p *Packets) Room(length int) *buf.Buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.err != nil || p.queue.Len() >= PacketQueue || p.size > 0 && p.size+length > PacketBytes {
		return nil
	}
	return wire.NewBuffer(length, p.options)
}

// Put appends a packet. It owns b.
func (p *Packets) Put(b *buf.Buffer, to M.Socksaddr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.err != nil {
		b.Release()
		return
	}
	p.queue.Push(packet{b, to})
	p.size += Cost(b)
	Signal(p.ready)
}

// waitLocked returns with mu held: with nil once there is a packet.
func (p *Packets) waitLocked() error {
	for {
		p.mu.Lock()
		var err error
		switch {
		case p.closed:
			err = net.ErrClosed
		case p.deadline.Over():
			return os.ErrDeadlineExceeded
		case p.queue.Len() > 0:
			return nil
		case p.err != nil:
			err = p.err
		}
		if err != nil {
			Signal(p.ready) // for whoever else waits
			return err
		}
		p.mu.Unlock()
		select {
		case <-p.ready:
		case <-p.deadline.Done():
		}
	}
}

func (p *Packets) popLocked() packet {
	pk := p.queue.Pop()
	p.size -= Cost(pk.b)
	return pk
}

// ReadPacket implements N.PacketReader: it returns where the packet goes. A packet for which buffer
// has no room is lost.
func (p *Packets) ReadPacket(buffer *buf.Buffer) (M.Socksaddr, error) {
	for {
		if err := p.waitLocked(); err != nil {
			p.mu.Unlock()
			return M.Socksaddr{}, err
		}
		pk := p.popLocked()
		p.mu.Unlock()
		fits := buffer.FreeLen() >= pk.b.Len()
		if fits {
			_, _ = buffer.Write(pk.b.Bytes())
		}
		pk.b.Release()
		if fits {
			return pk.to, nil
		}
	}
}

// InitializeReadWaiter implements N.PacketReadWaiter.
func (p *Packets) InitializeReadWaiter(options N.ReadWaitOptions) bool {
	p.mu.Lock()
	p.options = options
	p.mu.Unlock()
	return false
}

// WaitReadPacket implements N.PacketReadWaiter: what is queued is handed over as it is.
func (p *Packets) WaitReadPacket() (*buf.Buffer, M.Socksaddr, error) {
	err := p.waitLocked()
	defer p.mu.Unlock()
	if err != nil {
		return nil, M.Socksaddr{}, err
	}
	pk := p.popLocked()
	return p.options.Copy(pk.b), pk.to, nil // a copy only when it was queued before the options
}

// Finish lets the reader have what is queued, then err.
func (p *Packets) Finish(err error) {
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.mu.Unlock()
	Signal(p.ready)
}

// Shut drops what is queued and ends reading. It reports false when that was done before.
func (p *Packets) Shut() bool {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	for p.queue.Len() > 0 {
		p.popLocked().b.Release()
	}
	p.mu.Unlock()
	Signal(p.ready)
	return first
}

// Ended returns net.ErrClosed after Shut, the error of Finish, or nil.
func (p *Packets) Ended() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	return p.err
}
