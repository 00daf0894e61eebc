package hysteria2

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"heki/internal/protocol/hysteria2"
)

// wireSize is more than any datagram of QUIC has here, salt included.
const wireSize = 2 << 10

// obfuscated is a socket whose datagrams Salamander hides. It is no more than a net.PacketConn on
// purpose: with the methods of *net.UDPConn QUIC would go round it. So there is no segmentation offload
// and no ECN with obfs.
type obfuscated struct {
	conn    *net.UDPConn
	hide    *hysteria2.Salamander
	in      [wireSize]byte // what ReadFrom, which one goroutine calls, receives into
	scratch sync.Pool      // of *[wireSize]byte
}

func newObfuscated(conn *net.UDPConn, password string) *obfuscated {
	return &obfuscated{
		conn: conn, hide: hysteria2.NewSalamander(password),
		scratch: sync.Pool{New: func() any { return new([wireSize]byte) }},
	}
}

// ReadFrom implements net.PacketConn. What is no datagram of a client is passed over without a word.
func (o *obfuscated) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := o.conn.ReadFromUDPAddrPort(o.in[:])
		if err != nil {
			return 0, nil, err
		}
		if m, ok := o.hide.Open(p, o.in[:n]); ok {
			return m, net.UDPAddrFromAddrPort(from), nil
		}
	}
}

// WriteTo implements net.PacketConn.
func (o *obfuscated) WriteTo(p []byte, to net.Addr) (int, error) {
	if len(p) > wireSize-hysteria2.SaltSize {
		return len(p), nil // cannot be; QUIC treats it as lost
	}
	b := o.scratch.Get().(*[wireSize]byte) //nolint:forcetypeassert // nothing else is in there
	defer o.scratch.Put(b)
	var salt [hysteria2.SaltSize]byte
	binary.LittleEndian.PutUint64(salt[:], rand.Uint64())
	if _, err := o.conn.WriteTo(b[:o.hide.Seal(b[:], p, salt[:])], to); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close implements net.PacketConn.
func (o *obfuscated) Close() error { return o.conn.Close() }

// LocalAddr implements net.PacketConn.
func (o *obfuscated) LocalAddr() net.Addr { return o.conn.LocalAddr() }

// SetDeadline implements net.PacketConn.
func (o *obfuscated) SetDeadline(t time.Time) error { return o.conn.SetDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (o *obfuscated) SetReadDeadline(t time.Time) error { return o.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn.
func (o *obfuscated) SetWriteDeadline(t time.Time) error { return o.conn.SetWriteDeadline(t) }
