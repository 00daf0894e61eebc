package ws

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/netio"
)

// closeTime bounds how long Close waits for a client that does not read.
const closeTime = 250 * time.Millisecond

// FrontHeadroom is the room that WriteBuffer wants before the payload.
func (c *Conn) FrontHeadroom() int {
	if c.client {
		return maxHeader
	}
	return maxServerHeader
}

// WriteBuffer sends b as one frame in one write. b is released.
func (c *Conn) WriteBuffer(b *buf.Buffer) error {
	defer b.Release()
	if b.IsEmpty() {
		return nil
	}
	if b.Start() < c.FrontHeadroom() {
		_, err := c.Write(b.Bytes())
		return err
	}
	return c.writeFrame(b)
}

// Write sends p as frames of at most netio.BufferSize bytes, each in one write.
func (c *Conn) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		b := netio.Get()
		n, _ := b.Write(p[done:min(len(p), done+netio.BufferSize)])
		err := c.writeFrame(b)
		netio.Put(b)
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// appendHead writes the header of a frame before its payload, which a client's is masked in place.
func (c *Conn) appendHead(b []byte, op byte, payload []byte) []byte {
	if !c.client {
		return appendHeader(b, op, 0, len(payload))
	}
	key := rand.Uint32()
	unmask(payload, key)
	return binary.LittleEndian.AppendUint32(appendHeader(b, op, 0x80, len(payload)), key)
}

func (c *Conn) writeFrame(b *buf.Buffer) error {
	var h [maxHeader]byte
	header := c.appendHead(h[:0], opBinary, b.Bytes())
	copy(b.ExtendHeader(len(header)), header)
	c.wmu.Lock()
	if c.finished || c.sentClose.Load() {
		c.wmu.Unlock()
		return net.ErrClosed
	}
	_, err := c.Conn.Write(b.Bytes())
	c.wmu.Unlock()
	c.flushAnswers()
	return err
}

// CloseWrite says that nothing more will be written. The client hears of it a moment later; see Conn.
// A client has no way to say so that leaves its server the time to answer.
func (c *Conn) CloseWrite() error {
	if c.client {
		return errors.ErrUnsupported
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.finished || c.sentClose.Load() || c.closed.Load() {
		return nil
	}
	c.finished = true
	c.farewell.Say(&c.reads, c.sayClose)
	return nil
}

// sayClose is the end of CloseWrite.
func (c *Conn) sayClose() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if !c.sentClose.Load() && !c.closed.Load() {
		_ = c.writeCloseLocked(codeNormal) // the reader sees the same failure
	}
}

func (c *Conn) writeCloseLocked(code int) error {
	c.sentClose.Store(true)
	var payload []byte
	if code != codeNone {
		payload = binary.BigEndian.AppendUint16(nil, uint16(code))
	}
	return c.writeControlLocked(opClose, payload)
}

func (c *Conn) writeControlLocked(op byte, payload []byte) error {
	var h [2 + maskLen + maxControl]byte
	_, err := c.Conn.Write(append(c.appendHead(h[:0], op, payload), payload...))
	return err
}

// Close says goodbye, if that was not done, and closes the connection. A client that does not read
// holds it up for closeTime at most.
func (c *Conn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	c.farewell.Stop()
	if c.wmu.TryLock() { // else a write is under way, and ends with the socket
		if !c.sentClose.Load() && c.Conn.SetWriteDeadline(time.Now().Add(closeTime)) == nil {
			_ = c.writeCloseLocked(codeNormal) // best effort
		}
		c.wmu.Unlock()
	}
	return c.Conn.Close()
}

// answerPing notes a pong for the latest ping and sends it unless a write is under way: then the
// writer sends it. More pings than the budget allows go unanswered.
func (c *Conn) answerPing(payload []byte) {
	if !c.pings.take(time.Now()) {
		return
	}
	c.amu.Lock()
	c.pong = copy(c.answer[:], payload)
	c.amu.Unlock()
	c.flushAnswers()
}

// answerClose notes a Close for the client, sends it as answerPing does, and says whether it is an
// answer: false when ours was sent before.
func (c *Conn) answerClose(code int) bool {
	if c.sentClose.Load() {
		return false
	}
	c.amu.Lock()
	c.reply = code
	c.amu.Unlock()
	c.flushAnswers()
	return true
}

// flushAnswers sends what waits, unless someone writes: that one calls it afterwards.
func (c *Conn) flushAnswers() {
	for c.hasAnswer() && c.wmu.TryLock() {
		c.sendAnswersLocked()
		c.wmu.Unlock()
	}
}

func (c *Conn) hasAnswer() bool {
	c.amu.Lock()
	defer c.amu.Unlock()
	return c.pong >= 0 || c.reply != 0
}

func (c *Conn) sendAnswersLocked() {
	var payload [maxControl]byte
	c.amu.Lock()
	pong, reply := c.pong, c.reply
	copy(payload[:], c.answer[:max(pong, 0)])
	c.pong, c.reply = -1, 0
	c.amu.Unlock()
	if c.sentClose.Load() {
		return
	}
	if pong >= 0 {
		_ = c.writeControlLocked(opPong, payload[:pong]) // a failure is the next write's too
	}
	if reply != 0 {
		_ = c.writeCloseLocked(reply)
	}
}

// pingBudget allows a burst of pongs and then two a second: keepalives and latency tests pass, and a
// client that sends nothing but pings cannot fill its own socket with answers that it does not read.
type pingBudget struct {
	used int
	last time.Time
}

const (
	pingBurst    = 8
	pingInterval = 500 * time.Millisecond
)

func (p *pingBudget) take(now time.Time) bool {
	if back := int(now.Sub(p.last) / pingInterval); back > 0 {
		p.used = max(0, p.used-back)
		p.last = now
	}
	if p.used >= pingBurst {
		return false
	}
	p.used++
	return true
}
