package shadowsocksr

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/netio"
	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

// frames is UDP over a stream, which the C# client may ask for (ssr.md §1): a length that counts
// itself, a byte that is 0, an address and the payload, either way.
type frames struct {
	net.Conn
	body wire.Body

	mu sync.Mutex // a frame is one write
}

const frameHead = 2 + 1

func newFrames(conn wire.Conn) *frames { return &frames{Conn: conn, body: wire.Body{Source: conn}} }

// ReadPacket implements N.PacketConn.
func (f *frames) ReadPacket(b *buf.Buffer) (M.Socksaddr, error) {
	for {
		if err := f.body.Resync(); err != nil {
			return M.Socksaddr{}, err
		}
		head, err := wire.PeekFrame(f.body.Source, 0, frameHead)
		if err != nil {
			return M.Socksaddr{}, err
		}
		total := int(binary.BigEndian.Uint16(head))
		size := min(total, frameHead+address.Max)
		if total < frameHead {
			return M.Socksaddr{}, fmt.Errorf("%w: frame of %d bytes", wire.ErrBadRequest, total)
		}
		if head, err = wire.PeekFrame(f.body.Source, len(head), size); err != nil {
			return M.Socksaddr{}, err
		}
		dst, n, err := address.ParseS(head[frameHead:size], "")
		if err != nil {
			return M.Socksaddr{}, fmt.Errorf("%w: frame of %d bytes: %w", wire.ErrBadRequest, total, err)
		}
		if err := f.body.Begin(frameHead+n, total-frameHead-n); err != nil {
			return M.Socksaddr{}, err
		}
		ok, err := f.body.ReadTo(b)
		if err != nil {
			return M.Socksaddr{}, err
		}
		if ok {
			return dst, nil
		}
	}
}

// WritePacket implements N.PacketConn.
func (f *frames) WritePacket(b *buf.Buffer, source M.Socksaddr) error {
	defer b.Release()
	total := frameHead + address.Size(source) + b.Len()
	if total > 0xffff {
		return nil // what the wire cannot say is lost
	}
	out := netio.Pool{}.Get(total)
	defer func() { wire.Give(netio.Pool{}, out) }()
	head := out.Extend(frameHead)
	binary.BigEndian.PutUint16(head, uint16(total))
	head[2] = 0
	address.AppendS(out.Extend(address.Size(source))[:0], source)
	_, _ = out.Write(b.Bytes())
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.Conn.Write(out.Bytes())
	return err
}
