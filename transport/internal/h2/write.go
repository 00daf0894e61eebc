package h2

import (
	"net"
	"os"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/netio"
)

// FrontHeadroom is the room that WriteBuffer wants before the payload.
func (s *Stream) FrontHeadroom() int { return frameHeader }

// RearHeadroom is the room that WriteBuffer wants behind it: the heads of all frames but the first.
func (s *Stream) RearHeadroom() int { return frameHeader * (netio.BufferSize / maxFrame) }

// WriteBuffer sends b in frames that are written around it in place, in one write when the peer's
// windows allow. b is released.
func (s *Stream) WriteBuffer(b *buf.Buffer) error {
	defer b.Release()
	if b.IsEmpty() {
		return nil
	}
	if b.Start() < frameHeader {
		_, err := s.Write(b.Bytes())
		return err
	}
	return s.write(b)
}

// Write implements io.Writer.
func (s *Stream) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		b := netio.Get()
		n, _ := b.Write(p[done:])
		err := s.write(netio.Filled(b))
		netio.Put(b)
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

func (s *Stream) write(b *buf.Buffer) error {
	c := s.c
	defer func() {
		c.mu.Lock()
		s.writing = false
		c.mu.Unlock()
	}()
	for !b.IsEmpty() {
		n, limit, err := s.acquire(b.Len(), b.FreeLen())
		if err != nil {
			return err
		}
		var out []byte
		if n > limit {
			out = spread(b, n, limit, s.id)
		} else {
			putHeader(b.ExtendHeader(frameHeader), n, frameData, 0, s.id)
			out = b.Bytes()[:frameHeader+n]
		}
		err = s.send(out)
		b.Advance(len(out))
		if err != nil {
			return err
		}
		c.moved.Add(int64(n))
	}
	return nil
}

// acquire waits for the right to send up to n bytes, and returns how many and the longest frame. More
// than one frame is for all n bytes only, and when the heads of the others fit room.
func (s *Stream) acquire(n, room int) (granted, limit int, err error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	s.writing = true
	for {
		if s.werr != nil {
			return 0, 0, s.werr
		}
		if s.wexpired {
			return 0, 0, os.ErrDeadlineExceeded
		}
		if s.ended {
			return 0, 0, net.ErrClosed
		}
		limit = c.peerFrame
		granted = int(min(int64(n), s.sendWindow, c.sendWindow))
		if granted > 0 {
			break
		}
		s.writable.Wait()
	}
	if granted > limit && (granted < n || frameHeader*((n-1)/limit) > room) {
		granted = limit
	}
	s.sendWindow -= int64(granted)
	c.sendWindow -= int64(granted)
	return granted, limit, nil
}

// spread turns the n bytes of b into frames: those behind the first are moved up to make room for
// their heads.
func spread(b *buf.Buffer, n, limit int, id uint32) []byte {
	frames := (n + limit - 1) / limit
	b.Extend(frameHeader * (frames - 1))
	p := b.Bytes()
	for i := frames - 1; i > 0; i-- {
		from, to := i*limit, min(n, (i+1)*limit)
		at := from + frameHeader*i
		copy(p[at:], p[from:to])
		putHeader(p[at-frameHeader:], to-from, frameData, 0, id)
	}
	putHeader(b.ExtendHeader(frameHeader), limit, frameData, 0, id)
	return b.Bytes()
}

// send writes frames of the stream, unless it was reset meanwhile.
func (s *Stream) send(out []byte) error {
	c := s.c
	c.wmu.Lock()
	if s.gone.Load() {
		c.wmu.Unlock()
		return net.ErrClosed
	}
	err := c.writeLocked(out)
	c.wmu.Unlock()
	c.flush()
	return err
}

// noTable is a header block's way to say that it uses no dynamic table. RFC 7541 §6.3.
const noTable = 0x20

// blockLocked makes a header block the first one, if it is; wmu is held.
func (c *conn) blockLocked(block []byte) []byte {
	if c.tableKnown {
		return block
	}
	c.tableKnown = true
	return append([]byte{noTable}, block...)
}

// sendHead writes the header block that begins our side.
func (s *Stream) sendHead(block []byte, end bool) error {
	c := s.c
	c.wmu.Lock()
	defer c.flush()
	defer c.wmu.Unlock()
	if s.gone.Load() {
		return net.ErrClosed
	}
	var flags byte
	if end {
		flags = flagEnd
	}
	return c.writeLocked(appendHeaders(nil, s.id, flags, c.blockLocked(block)))
}
