//go:build !linux

package netio

import (
	"errors"
	"net"
	"net/netip"

	"github.com/sagernet/sing/common/buf"
)

// PacketSocket is an unconnected UDP socket.
type PacketSocket struct {
	*net.UDPConn
	local netip.Addr
	port  uint16
}

// NewPacketSocket prepares c, which it owns from now on.
func NewPacketSocket(c *net.UDPConn) (*PacketSocket, error) {
	return &PacketSocket{c, AddrPort(c.LocalAddr()).Addr(), AddrPort(c.LocalAddr()).Port()}, nil
}

// Port is the port it is bound to.
func (s *PacketSocket) Port() uint16 { return s.port }

// Send sends one datagram to a client. The system chooses the address it leaves with.
func (s *PacketSocket) Send(b []byte, to netip.AddrPort, _ netip.Addr) error {
	_, err := s.WriteToUDPAddrPort(b, to)
	return err
}

// SendBatch sends each of bs as one datagram to a client.
func (s *PacketSocket) SendBatch(bs []*buf.Buffer, to netip.AddrPort, from netip.Addr) error {
	var errs []error
	for _, b := range bs {
		errs = append(errs, s.Send(b.Bytes(), to, from))
	}
	return errors.Join(errs...)
}

// BatchReader receives datagrams.
type BatchReader struct{ c *net.UDPConn }

// NewBatchReader returns a reader on c.
func NewBatchReader(c *net.UDPConn) (*BatchReader, error) { return &BatchReader{c}, nil }

// Read waits for one datagram. The batch is the caller's, for its Put.
func (r *BatchReader) Read() (*Batch, error) {
	b := GetPacket()
	n, from, err := r.c.ReadFromUDPAddrPort(b.FreeBytes())
	if err != nil {
		Put(b)
		return nil, err
	}
	b.Truncate(n)
	batch := batches.Get().(*Batch)
	batch.datagrams = append(batch.datagrams, Datagram{Filled(b), netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), AddrPort(r.c.LocalAddr()).Addr()})
	return batch, nil
}
