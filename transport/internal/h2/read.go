package h2

import (
	"encoding/binary"
	"io"
	"time"

	"golang.org/x/net/http2/hpack"
)

// parse goes through frames and parts of frames.
func (c *conn) parse(b []byte) error {
	for len(b) > 0 {
		if c.headLen < frameHeader {
			n := copy(c.head[c.headLen:], b)
			b = b[n:]
			if c.headLen += n; c.headLen < frameHeader {
				return nil
			}
			c.frame = parseHeader(c.head[:])
			c.remain = c.frame.length
			if err := c.begin(); err != nil {
				return err
			}
		}
		n := min(len(b), c.remain)
		piece := b[:n]
		b = b[n:]
		c.remain -= n
		if err := c.payload(piece); err != nil {
			return err
		}
		if c.remain == 0 {
			c.headLen = 0
		}
	}
	return nil
}

// begin checks the head of a frame: what cannot be right is refused before its payload comes.
func (c *conn) begin() error {
	f := c.frame
	if f.length > maxFrame {
		return bad(codeFrameSize, "frame too long")
	}
	if !c.begun && f.typ != frameSettings {
		return bad(codeProtocol, "no SETTINGS at first")
	}
	if (c.blockID != 0) != (f.typ == frameContinuation) || c.blockID != 0 && f.stream != c.blockID {
		return bad(codeProtocol, "header block interrupted")
	}
	switch f.typ {
	case frameData:
		if f.stream == 0 {
			return bad(codeProtocol, "DATA without a stream")
		}
		return c.beginData()
	case frameHeaders:
		if f.stream == 0 {
			return bad(codeProtocol, "HEADERS without a stream")
		}
		return c.bother(fussRequest)
	case framePriority:
		return c.fixed(5, f.stream != 0)
	case frameReset:
		return c.fixed(4, f.stream != 0)
	case frameSettings:
		if f.stream != 0 || f.length%6 != 0 || f.length > 6*maxSettings || f.flags&flagEnd != 0 && f.length > 0 {
			return bad(codeFrameSize, "SETTINGS")
		}
		return c.bother(fussRequest)
	case framePing:
		return c.fixed(8, f.stream == 0)
	case frameGoAway:
		if f.stream != 0 || f.length < 8 {
			return bad(codeProtocol, "GOAWAY")
		}
	case frameWindow:
		return c.fixed(4, true)
	case framePush:
		return bad(codeProtocol, "PUSH_PROMISE")
	}
	return c.bother(fussFrame + int64(f.length)/fussBytes)
}

// fixed checks a frame of one length.
func (c *conn) fixed(length int, stream bool) error {
	if c.frame.length != length {
		return bad(codeFrameSize, "length of a control frame")
	}
	if !stream {
		return bad(codeProtocol, "stream of a control frame")
	}
	return c.bother(fussFrame)
}

// bother counts a frame that carries nothing; see limits.go.
func (c *conn) bother(n int64) error {
	c.fuss += n
	allowed := fussBase + c.moved.Load()/fussBytes + fussPerStream*int64(c.trust.Load())
	if c.fuss <= allowed {
		return nil
	}
	if c.fuss <= allowed+fussPerSecond*int64(time.Since(c.start)/time.Second) {
		return nil
	}
	return bad(codeCalm, "too many frames that carry nothing")
}

// payload takes the next piece of the frame; the last one when remain is 0.
func (c *conn) payload(piece []byte) error {
	if c.frame.typ == frameData {
		return c.data(piece)
	}
	if !c.known() {
		return nil
	}
	if c.remain > 0 || len(c.partial) > 0 {
		c.partial = append(c.partial, piece...)
		if c.remain > 0 {
			return nil
		}
		piece = c.partial
		c.partial = nil
	}
	return c.wholeFrame(piece)
}

// known says whether the frame is one that we look at.
func (c *conn) known() bool { return c.frame.typ <= frameContinuation }

// beginData finds the stream of a DATA frame and takes the whole frame off its window.
func (c *conn) beginData() error {
	f := c.frame
	s, err := c.expectOpen(f.stream)
	if err != nil {
		return err
	}
	c.pad = 0
	if f.flags&flagPadded != 0 {
		if c.pad = -1; f.length == 0 {
			return bad(codeFrameSize, "DATA without its padding")
		}
	}
	if c.received += int64(f.length); c.received >= refill {
		c.queueWord(frameWindow, 0, uint32(c.received))
		c.received = 0
	}
	if c.target = s; s != nil && !s.charge(f.length) {
		return bad(codeFlowControl, "more data than the window of the stream")
	}
	if f.length == 0 {
		if err := c.bother(fussFrame); err != nil {
			return err
		}
		if f.flags&flagEnd != 0 {
			c.endStream(s)
		}
		return nil
	}
	c.moved.Add(int64(f.length))
	return nil
}

// data takes a piece of DATA.
func (c *conn) data(piece []byte) error {
	if c.pad < 0 && len(piece) > 0 {
		c.pad = int(piece[0])
		if c.pad >= c.frame.length {
			return bad(codeProtocol, "more padding than frame")
		}
		c.credit(1)
		piece = piece[1:]
	}
	if c.pad > 0 { // the last pad bytes of the frame
		if over := max(0, c.pad-c.remain); over > 0 {
			over = min(over, len(piece))
			piece = piece[:len(piece)-over]
			c.credit(over)
		}
	}
	if len(piece) > 0 && c.target != nil {
		c.wake(c.target) // for each piece: what was read before was told of
		c.target.push(piece)
	}
	if c.remain == 0 && c.frame.length > 0 && c.frame.flags&flagEnd != 0 {
		c.endStream(c.target)
	}
	return nil
}

// credit counts padding as used. The window goes out with feed's other answers: a reader that writes
// itself would wait for a peer that does not read.
func (c *conn) credit(n int) {
	if c.target != nil {
		c.target.grant(n)
	}
}

// endStream passes the end of the peer's side on.
func (c *conn) endStream(s *Stream) {
	if s != nil {
		s.finishRead(nil)
	}
}

// wake tells a stream of the data that it got, when another one is next: one wake-up for all that was
// read at once.
func (c *conn) wake(next *Stream) {
	if s := c.woken; s != nil && s != next {
		s.readable()
	}
	c.woken = next
}

// expectOpen returns the stream of a frame, nil when it is gone already. Streams that never were
// are an error.
func (c *conn) expectOpen(id uint32) (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[id]; s != nil {
		return s, nil
	}
	ours := (id&1 == 1) == c.client
	if ours && id >= c.next || !ours && id > c.last {
		return nil, bad(codeProtocol, "frame for an idle stream")
	}
	return nil, nil
}

// wholeFrame takes one whole frame that is not DATA.
func (c *conn) wholeFrame(b []byte) error {
	switch c.frame.typ {
	case frameHeaders:
		return c.headers(b)
	case frameContinuation:
		return c.more(b, c.frame.flags)
	case frameReset:
		s, err := c.expectOpen(c.frame.stream)
		if err == nil && s != nil {
			s.resetByPeer(Code(binary.BigEndian.Uint32(b)))
		}
		return err
	case frameSettings:
		return c.settings(b)
	case framePing:
		if c.frame.flags&flagEnd == 0 {
			c.queue(append(appendHeader(nil, 8, framePing, flagEnd, 0), b...))
		}
	case frameGoAway:
		return c.peerGoes(binary.BigEndian.Uint32(b) & windowMax)
	case frameWindow:
		return c.window(int64(binary.BigEndian.Uint32(b) & windowMax))
	}
	return nil
}

// headers takes a HEADERS frame apart.
func (c *conn) headers(b []byte) error {
	if c.frame.flags&flagPadded != 0 {
		if len(b) == 0 || int(b[0])+1 > len(b) {
			return bad(codeProtocol, "more padding than frame")
		}
		b = b[1 : len(b)-int(b[0])]
	}
	if c.frame.flags&flagPriority != 0 {
		if len(b) < 5 {
			return bad(codeFrameSize, "HEADERS without their priority")
		}
		b = b[5:]
	}
	c.blockID, c.blockFlags, c.blockCount = c.frame.stream, c.frame.flags, 0
	return c.more(b, c.frame.flags)
}

// more takes a piece of a header block.
func (c *conn) more(b []byte, flags byte) error {
	if c.blockCount++; c.blockCount > maxBlockFrames || len(c.block)+len(b) > maxBlock {
		return bad(codeCalm, "header block too long")
	}
	if flags&flagHeaders == 0 {
		c.block = append(c.block, b...)
		return nil
	}
	if len(c.block) > 0 {
		b = append(c.block, b...)
		c.block = nil
	}
	id := c.blockID
	c.blockID = 0
	if c.hpack == nil {
		c.hpack = hpack.NewDecoder(tableSize, nil)
	}
	m, err := decodeBlock(c.hpack, b)
	if err != nil {
		return err
	}
	m.End = c.blockFlags&flagEnd != 0
	return c.onHead(id, m)
}

// settings takes the peer's.
func (c *conn) settings(b []byte) error {
	if c.frame.flags&flagEnd != 0 {
		if !c.begun {
			return bad(codeProtocol, "no SETTINGS at first")
		}
		return nil
	}
	c.begun = true
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = true
	for ; len(b) > 0; b = b[6:] {
		id, v := binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:])
		switch id {
		case settingMaxStreams:
			c.peerStreams = v
		case settingMaxFrame:
			if v < maxFrame || v > 1<<24-1 {
				return bad(codeProtocol, "SETTINGS_MAX_FRAME_SIZE")
			}
			c.peerFrame = int(min(v, maxSend))
		case settingWindow:
			if v > windowMax {
				return bad(codeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE")
			}
			change := int64(v) - int64(c.peerWindow)
			c.peerWindow = int32(v)
			for _, s := range c.streams {
				if s.sendWindow += change; s.sendWindow > windowMax {
					return bad(codeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE")
				}
				s.writable.Broadcast()
			}
		}
	}
	c.queue(appendHeader(nil, 0, frameSettings, flagEnd, 0))
	return nil
}

// window takes a WINDOW_UPDATE.
func (c *conn) window(n int64) error {
	id := c.frame.stream
	if id == 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.sendWindow += n; n == 0 || c.sendWindow > windowMax {
			return bad(codeFlowControl, "WINDOW_UPDATE")
		}
		for _, s := range c.streams {
			s.writable.Broadcast()
		}
		return nil
	}
	s, err := c.expectOpen(id)
	if err != nil || s == nil {
		return err
	}
	c.mu.Lock()
	s.sendWindow += n
	over := n == 0 || s.sendWindow > windowMax
	s.writable.Broadcast()
	c.mu.Unlock()
	if over {
		s.resetByUs(codeFlowControl)
	}
	return nil
}

// peerGoes takes a GOAWAY: our streams above last were not looked at. Without streams there is nothing
// to wait for.
func (c *conn) peerGoes(last uint32) error {
	c.mu.Lock()
	c.going = true
	var lost []*Stream
	for id, s := range c.streams {
		if c.client && id > last {
			lost = append(lost, s)
		}
	}
	empty := len(c.streams) == 0
	c.mu.Unlock()
	for _, s := range lost {
		s.resetByPeer(codeRefused)
	}
	if empty {
		return io.EOF
	}
	return nil
}
