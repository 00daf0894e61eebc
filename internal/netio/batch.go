package netio

import (
	"net/netip"
	"sync"

	"github.com/sagernet/sing/common/buf"
)

const (
	// BatchSize is how many datagrams one system call moves at most.
	BatchSize = 16
	// overflow is the room in bytes for what a datagram has beyond a small buffer.
	overflow = PacketSize - smallRead
)

// Datagram is one received datagram.
type Datagram struct {
	Buffer *buf.Buffer    // for Put; Headroom before and behind the payload
	From   netip.AddrPort // unmapped
	Local  netip.Addr     // the address it was sent to, unmapped
}

// Batch is what one call of BatchReader.Read received.
type Batch struct {
	datagrams [BatchSize]Datagram
	n         int
	raw       rawBatch
}

var batches = sync.Pool{New: func() any { return newBatch() }}

// Datagrams returns what was received, in order. The slice is valid until Put, and each buffer that
// was taken has to be set to nil in it.
func (b *Batch) Datagrams() []Datagram { return b.datagrams[:b.n] }

// Put gives the batch back, and the buffers that nobody took.
func (b *Batch) Put() {
	for i := range b.datagrams[:b.n] {
		Put(b.datagrams[i].Buffer)
		b.datagrams[i] = Datagram{}
	}
	b.n = 0
	batches.Put(b)
}
