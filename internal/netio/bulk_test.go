package netio

import (
	"io"
	"sync/atomic"
	"testing"
)

// chunks takes what is written and remembers the longest of it.
type chunks struct {
	opaque
	longest int
}

func (c *chunks) Write(p []byte) (int, error) {
	c.longest = max(c.longest, len(p))
	return len(p), nil
}

type bulkChunks struct{ *chunks }

func (bulkChunks) PrefersBulk() {}

// Only who asks for it gets chunks beyond BufferSize, and nobody while the relay is paced.
func TestBulkWriter(t *testing.T) {
	for _, tt := range []struct {
		name        string
		bulk, paced bool
		want        int
	}{
		{"bulk", true, false, PacketSize},
		{"bulk, paced", true, true, BufferSize},
		{"other", false, false, BufferSize},
	} {
		t.Run(tt.name, func(t *testing.T) {
			site, remote := tcpPair(t)
			go func() {
				site.Write(make([]byte, 4<<20))
				site.CloseWrite()
			}()
			c := &chunks{}
			var dst io.Writer = c
			if tt.bulk {
				dst = bulkChunks{c}
			}
			p := pump{src: remote, dst: dst, moved: new(atomic.Int64), paced: func() bool { return tt.paced }}
			if err := p.run(); err != io.EOF {
				t.Fatal(err)
			}
			if c.longest > tt.want || tt.want == PacketSize && c.longest <= BufferSize {
				t.Errorf("the longest chunk has %d bytes, want %d", c.longest, tt.want)
			}
		})
	}
}
