package netio

import (
	"net/netip"
	"sync"

	"github.com/sagernet/sing/common/buf"
)

const (
	// BatchSize is how many messages one system call moves at most.
	BatchSize = 16
	// keptBatch is how many datagrams a batch has room for when it goes back to the pool.
	keptBatch = 8 * BatchSize
)

// Datagram is one received datagram.
type Datagram struct {
	Buffer *buf.Buffer    // for Put; Headroom before and behind the payload
	From   netip.AddrPort // unmapped
	Local  netip.Addr     // the address it was sent to, unmapped
}

// Batch is what one call of BatchReader.Read received.
type Batch struct{ datagrams []Datagram }

var batches = sync.Pool{New: func() any { return &Batch{make([]Datagram, 0, BatchSize)} }}

// Datagrams returns what was received, in order. It is valid until Put. Whoever takes a buffer sets it
// to nil there.
func (b *Batch) Datagrams() []Datagram { return b.datagrams }

// Put gives the batch back, and the buffers that nobody took.
func (b *Batch) Put() {
	for i := range b.datagrams {
		Put(b.datagrams[i].Buffer)
	}
	clear(b.datagrams)
	b.datagrams = b.datagrams[:0]
	if cap(b.datagrams) <= keptBatch {
		batches.Put(b)
	}
}

// PacketsReader is a packet connection that hands over the packets that are there. The batch is the caller's, for its Put.
type PacketsReader interface {
	ReadPackets() (*Batch, error)
}

// PacketsWriter is a packet connection that takes several packets at once, which came from their From.
// The buffers stay the caller's, for Put; what is in them may be overwritten. Packets that cannot be
// sent are lost; an error ends the connection.
type PacketsWriter interface {
	WritePackets(packets []Datagram) error
}
