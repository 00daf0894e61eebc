package route

import (
	"context"
	"net"
	"net/netip"
	"testing"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/internal/netio"
	"heki/option"
)

// udpOutbound gives every session a socket that hands over batches.
type udpOutbound struct{ sockets chan *net.UDPConn }

func (*udpOutbound) Tag() string                   { return "direct" }
func (*udpOutbound) Close() error                  { return nil }
func (o *udpOutbound) Get(string) adapter.Outbound { return o }

func (*udpOutbound) Dial(context.Context, *adapter.Metadata) (net.Conn, error) {
	return nil, net.ErrClosed
}

func (o *udpOutbound) ListenPacket(context.Context, *adapter.Metadata) (N.PacketConn, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	r, err := netio.NewBatchReader(c)
	if err != nil {
		return nil, err
	}
	o.sockets <- c
	return &batchConn{packetPipe: newPacketPipe(), c: c, r: r}, nil
}

type batchConn struct {
	*packetPipe
	c *net.UDPConn
	r *netio.BatchReader
}

func (b *batchConn) ReadPackets() (*netio.Batch, error) { return b.r.Read() }

func (b *batchConn) Close() error {
	_ = b.packetPipe.Close()
	return b.c.Close()
}

// manyPipe is a client that takes batches.
type manyPipe struct {
	*packetPipe
	batches chan int
}

func (m *manyPipe) WritePackets(packets []netio.Datagram) error {
	m.batches <- len(packets)
	for _, d := range packets {
		m.out <- datagram{string(d.Buffer.Bytes()), M.SocksaddrFromNetIP(d.From)}
	}
	return nil
}

// What an outbound hands over together reaches the client whole and in order, and is counted, whether
// the client takes batches or not.
func TestRoutePacketBatches(t *testing.T) {
	for _, many := range []bool{false, true} {
		out := &udpOutbound{sockets: make(chan *net.UDPConn, 1)}
		r := newRouter(t, option.Route{}, nil)
		if err := r.Reload(option.Route{}, out); err != nil {
			t.Fatal(err)
		}
		pipe, m := newPacketPipe(), new(meter)
		var client N.PacketConn = pipe
		takes := &manyPipe{pipe, make(chan int, 16)}
		if many {
			client = takes
		}
		done := make(chan error, 1)
		go func() { done <- r.RoutePacketConn(context.Background(), client, metadata("192.0.2.1:1000", m)) }()
		socket := <-out.sockets
		peer, err := net.DialUDP("udp4", nil, socket.LocalAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			for _, text := range []string{"one", "two", "three"} {
				_, _ = peer.Write([]byte(text))
			}
		}
		from := netip.MustParseAddrPort(peer.LocalAddr().String())
		for range 3 {
			for _, want := range []string{"one", "two", "three"} {
				if d := <-pipe.out; d.text != want || d.addr.AddrPort() != from {
					t.Errorf("got %q from %s", d.text, d.addr)
				}
			}
		}
		_ = client.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if m.down.Load() != 33 || many != (len(takes.batches) > 0) {
			t.Errorf("counted %d, %d batches", m.down.Load(), len(takes.batches))
		}
		_ = peer.Close()
	}
}

// A kick ends a session whose outbound waits for a batch.
func TestKickEndsBatches(t *testing.T) {
	out := &udpOutbound{sockets: make(chan *net.UDPConn, 1)}
	r := newRouter(t, option.Route{}, nil)
	if err := r.Reload(option.Route{}, out); err != nil {
		t.Fatal(err)
	}
	m := new(meter)
	done := make(chan error, 1)
	go func() {
		done <- r.RoutePacketConn(context.Background(), newPacketPipe(), metadata("192.0.2.1:1000", m))
	}()
	<-out.sockets
	(*m.kill.Load())()
	if err := <-done; err != ErrKicked {
		t.Errorf("err = %v", err)
	}
}
