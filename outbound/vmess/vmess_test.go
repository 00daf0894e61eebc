package vmess

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
	"go.uber.org/goleak"

	"heki/internal/netio"
	"heki/internal/protocol/muxcool"
	"heki/internal/protocol/packetaddr"
	"heki/internal/protocol/vmess"
	"heki/internal/protocol/wire"
	"heki/option"
	"heki/outbound/internal/outboundtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const uuid = "b831381d-6324-4d53-ad4f-8cda48b30811"

// someTime is what the panels' clock says.
var someTime = time.Unix(1_700_000_000, 0)

func newOutbound(t testing.TB, o option.VMessOutbound) *Outbound {
	t.Helper()
	o.UUID = uuid
	if err := o.Validate("x"); err != nil {
		t.Fatal(err)
	}
	env := outboundtest.Env(nil)
	env.Now = func() time.Time { return someTime }
	out, err := New(env, "out", &o)
	if err != nil {
		t.Fatal(err)
	}
	return out.(*Outbound)
}

// serve hands over streams whose requests are right.
func serve(t testing.TB, handle func(c *vmess.Conn, s vmess.Session) error) option.Remote {
	id, err := option.ParseUUID(uuid)
	if err != nil {
		t.Fatal(err)
	}
	key := vmess.CmdKey(id)
	return outboundtest.Serve(t, func(c *netio.Conn) error {
		head, err := c.Peek(vmess.AuthIDSize)
		if err != nil {
			return nil //nolint:nilerr // the client is gone
		}
		unix, ok := vmess.OpenAuthID(vmess.NewAuthIDCipher(key), head[:vmess.AuthIDSize], new([vmess.AuthIDSize]byte))
		if !ok || unix != someTime.Unix() {
			t.Errorf("auth id of second %d, %v", unix, ok)
		}
		req, err := wire.ReadHeader(c, func(b []byte) (vmess.Request, int, error) { return vmess.OpenRequest(b, key) })
		if err != nil {
			return err
		}
		s := vmess.Session{Request: req}
		return handle(vmess.NewServerConn(c, s, nil), s)
	})
}

func TestStream(t *testing.T) {
	const usual = vmess.OptionChunkStream | vmess.OptionChunkMasking
	for _, tt := range []struct {
		o        option.VMessOutbound
		security vmess.Security
		options  vmess.Options
	}{
		{option.VMessOutbound{Security: "aes-128-gcm"}, vmess.SecurityGCM, usual},
		{option.VMessOutbound{Security: "AES-128-GCM", GlobalPadding: true}, vmess.SecurityGCM, usual | vmess.OptionGlobalPadding},
		{option.VMessOutbound{Security: "chacha20-poly1305", AuthenticatedLength: true}, vmess.SecurityChaCha, usual | vmess.OptionAuthenticatedLength},
		{option.VMessOutbound{Security: "none", GlobalPadding: true, AuthenticatedLength: true}, vmess.SecurityNone, usual},
		{option.VMessOutbound{Security: "zero"}, vmess.SecurityNone, 0},
	} {
		t.Run(tt.o.Security, func(t *testing.T) {
			tt.o.Remote = serve(t, func(c *vmess.Conn, s vmess.Session) error {
				if s.Security != tt.security || s.Options != tt.options || s.Command != vmess.CommandTCP || s.Destination.String() != "example.com:80" {
					t.Errorf("asked for %+v", s.Request)
				}
				b, err := io.ReadAll(c)
				if err != nil {
					return err
				}
				if _, err := c.Write(b); err != nil {
					return err
				}
				_ = c.CloseWrite() // the client may have all and be gone
				return nil
			})
			c := outboundtest.Dial(t, newOutbound(t, tt.o), "example.com:80")
			for _, part := range []string{"hello", " and", " more"} {
				if _, err := io.WriteString(c, part); err != nil {
					t.Fatal(err)
				}
			}
			if err := netio.CloseWrite(c); err != nil {
				t.Fatal(err)
			}
			outboundtest.Says(t, c, "hello and more")
			if raw := netio.RawTCP(c) != nil; raw != (tt.options == 0) {
				t.Errorf("the socket is seen: %v", raw)
			}
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("end: %v", err)
			}
		})
	}
}

// Where the stream has no half-close, whoever relays learns that the server may not know of the end.
func TestNoHalfClose(t *testing.T) {
	read := make(chan string, 1)
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		b, _ := io.ReadAll(far)
		read <- string(b)
	}()
	s, request := newOutbound(t, option.VMessOutbound{Remote: outboundtest.Refused(t)}).client.Request(vmess.CommandTCP, destination(1), 1, rand.Reader)
	c := &conn{Conn: vmess.NewClientConn(netio.NewConn(near), s, request, nil), inner: near, timer: time.NewTimer(0)}
	if err := netio.CloseWrite(c); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("err = %v, want one that says that there is none", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if got := <-read; len(got) <= len(request) || got[:len(request)] != string(request) {
		t.Errorf("%d bytes were sent, want the request and the empty chunk", len(got))
	}
}

func TestServerThatSpeaksFirst(t *testing.T) {
	at := serve(t, func(c *vmess.Conn, _ vmess.Session) error {
		_, err := io.WriteString(c, "220 mail.example")
		return err
	})
	c := outboundtest.Dial(t, newOutbound(t, option.VMessOutbound{Remote: at}), "mail.example:25")
	outboundtest.Says(t, c, "220 mail.example")
}

func TestNoVMessServer(t *testing.T) {
	at := outboundtest.Serve(t, func(c *netio.Conn) error {
		_, err := io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		return err
	})
	c := outboundtest.Dial(t, newOutbound(t, option.VMessOutbound{Remote: at}), "example.com:80")
	if _, err := c.Read(make([]byte, 10)); err == nil || err == io.EOF {
		t.Errorf("err = %v, want one of the header", err)
	}
}

// Each destination has a stream of its own, and answers come from where they were sent to.
func TestPackets(t *testing.T) {
	for _, security := range []string{"aes-128-gcm", "zero"} {
		at := serve(t, func(c *vmess.Conn, s vmess.Session) error {
			if s.Command != vmess.CommandUDP {
				t.Errorf("command %d", s.Command)
			}
			return outboundtest.Echo(vmess.NewPacketConn(c, s.Destination))
		})
		c := outboundtest.Packets(t, newOutbound(t, option.VMessOutbound{Remote: at, Security: security}), "192.0.2.1:53")
		for range 3 {
			outboundtest.Asks(t, c, "192.0.2.1:53", "one", "re:one")
			outboundtest.Asks(t, c, "dns.example:53", "four", "re:four")
			outboundtest.Asks(t, c, "[2001:db8::1]:443", strings.Repeat("long", 5000), "re:"+strings.Repeat("long", 5000))
		}
		if n := len(c.(*lanes).order); n != 3 {
			t.Errorf("%d streams, want 3", n)
		}
	}
}

// A stream that ends is opened anew by the next packet; the others go on.
func TestPacketStreamsEnd(t *testing.T) {
	at := serve(t, func(c *vmess.Conn, s vmess.Session) error {
		p := vmess.NewPacketConn(c, s.Destination)
		if s.Destination.Port != 1 {
			return outboundtest.Echo(p)
		}
		b := buf.NewSize(100)
		dst, err := p.ReadPacket(b)
		if err != nil {
			return nil //nolint:nilerr // the client is done
		}
		return p.WritePacket(b, dst)
	})
	c := outboundtest.Packets(t, newOutbound(t, option.VMessOutbound{Remote: at}), "192.0.2.1:1")
	s := c.(*lanes)
	outboundtest.Asks(t, c, "192.0.2.1:2", "stays", "re:stays")
	for range 3 {
		outboundtest.Asks(t, c, "192.0.2.1:1", "one", "one")
		for deadline := time.Now().Add(outboundtest.Patience); ; {
			s.mu.Lock()
			_, there := s.byDst[M.ParseSocksaddr("192.0.2.1:1")]
			s.mu.Unlock()
			if !there {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("a stream that ended is kept")
			}
			time.Sleep(time.Millisecond)
		}
	}
	outboundtest.Asks(t, c, "192.0.2.1:2", "stays", "re:stays")
}

// silent is a packet stream that nothing comes from.
type silent struct {
	N.PacketConn
	closed chan struct{}
}

func (s *silent) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }
func (s *silent) WaitReadPacket() (*buf.Buffer, M.Socksaddr, error) {
	<-s.closed
	return nil, M.Socksaddr{}, net.ErrClosed
}

func (s *silent) WritePacket(b *buf.Buffer, _ M.Socksaddr) error {
	b.Release()
	return nil
}

func (s *silent) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}

func destination(port int) M.Socksaddr { return M.ParseSocksaddr(fmt.Sprint("192.0.2.1:", port)) }

// Streams, and the packets that wait for them, are bounded; closing ends those that never open.
func TestBounds(t *testing.T) {
	stuck := make(chan struct{}, 1000)
	s, err := newLanes(t.Context(), func(ctx context.Context, dst M.Socksaddr) (N.PacketConn, error) {
		if dst.Port%2 == 0 {
			stuck <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &silent{closed: make(chan struct{})}, nil
	}, destination(1))
	if err != nil {
		t.Fatal(err)
	}
	for port := 1; port <= 3*maxLanes; port++ {
		for range 2 * maxQueue {
			if err := s.WritePacket(netio.Get(), destination(port)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.mu.Lock()
	n := len(s.order)
	for _, l := range s.order {
		l.mu.Lock()
		if len(l.queue) > maxQueue {
			t.Errorf("%d packets wait", len(l.queue))
		}
		l.mu.Unlock()
	}
	if len(s.byDst) != n || n > maxLanes {
		t.Errorf("%d streams, %d of them listed", len(s.byDst), n)
	}
	s.mu.Unlock()
	<-stuck
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.WritePacket(netio.Get(), destination(1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a packet after the end: %v", err)
	}
	if _, _, err := s.WaitReadPacket(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading after the end: %v", err)
	}
}

func TestReadDeadline(t *testing.T) {
	at := serve(t, func(c *vmess.Conn, s vmess.Session) error {
		return outboundtest.Echo(vmess.NewPacketConn(c, s.Destination))
	})
	c := outboundtest.Packets(t, newOutbound(t, option.VMessOutbound{Remote: at}), "192.0.2.1:53")
	if err := c.SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	b := buf.NewSize(100)
	defer b.Release()
	var ne net.Error
	if _, err := c.ReadPacket(b); !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("err = %v, want a timeout", err)
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	outboundtest.Asks(t, c, "192.0.2.1:53", "one", "re:one")
}

func TestPacketAddr(t *testing.T) {
	at := serve(t, func(c *vmess.Conn, s vmess.Session) error {
		if !packetaddr.IsDestination(s.Destination) {
			t.Errorf("destination %s", s.Destination)
		}
		return outboundtest.Echo(packetaddr.NewConn(vmess.NewPacketConn(c, s.Destination), s.Destination))
	})
	c := outboundtest.Packets(t, newOutbound(t, option.VMessOutbound{Remote: at, PacketEncoding: "packetaddr"}), "192.0.2.1:53")
	outboundtest.Asks(t, c, "192.0.2.1:53", "one", "re:one")
	outboundtest.Asks(t, c, "[2001:db8::1]:53", "four", "re:four")
}

// mux answers packets of XUDP.
type mux struct{}

func (mux) NewStream(_ context.Context, c net.Conn, _ M.Socksaddr) { _ = c.Close() }
func (mux) NewPacket(_ context.Context, c N.PacketConn, _ M.Socksaddr) {
	_ = outboundtest.Echo(c)
	_ = c.Close()
}

func TestXUDP(t *testing.T) {
	at := serve(t, func(c *vmess.Conn, s vmess.Session) error {
		if s.Command != vmess.CommandMux {
			t.Errorf("command %d", s.Command)
		}
		_ = muxcool.Serve(context.Background(), netio.NewConn(c), muxcool.Options{Handler: mux{}})
		return nil
	})
	c := outboundtest.Packets(t, newOutbound(t, option.VMessOutbound{Remote: at, PacketEncoding: "xudp"}), "192.0.2.1:53")
	outboundtest.Asks(t, c, "192.0.2.1:53", "one", "re:one")
	outboundtest.Asks(t, c, "dns.example:53", "four", "re:four")
}

func TestRefusals(t *testing.T) {
	o := newOutbound(t, option.VMessOutbound{Remote: outboundtest.Refused(t)})
	outboundtest.Fails(t, o, outboundtest.To("a.example:80"), uuid, "127.0.0.1", "refused")
	if _, err := o.ListenPacket(t.Context(), outboundtest.To("192.0.2.1:53")); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("packets: %v", err)
	}
	o.packet.Network = []string{"udp"}
	outboundtest.Fails(t, o, outboundtest.To("a.example:80"), uuid, "leaves out tcp")
	o.packet.Network = []string{"tcp"}
	if _, err := o.ListenPacket(t.Context(), outboundtest.To("192.0.2.1:53")); err == nil || !strings.Contains(err.Error(), "leaves out udp") {
		t.Errorf("packets: %v", err)
	}
	for _, bad := range []option.VMessOutbound{{}, {UUID: uuid, Security: "rot13"}} {
		if _, err := New(outboundtest.Env(nil), "out", &bad); err == nil {
			t.Errorf("built: %+v", bad)
		}
	}
}

// sink is a stream to a server that reads on.
func sink(t testing.TB, security string) net.Conn {
	at := serve(t, func(c *vmess.Conn, _ vmess.Session) error {
		_, _ = io.Copy(io.Discard, c.Conn) // the test ends it
		return nil
	})
	c := outboundtest.Dial(t, newOutbound(t, option.VMessOutbound{Remote: at, Security: security}), "example.com:80")
	if _, err := c.Write([]byte("begin")); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWriteAllocs(t *testing.T) {
	for _, security := range []string{"aes-128-gcm", "chacha20-poly1305", "none", "zero"} {
		outboundtest.Writes(t, sink(t, security))
	}
}

func BenchmarkWrite(b *testing.B) {
	w := netio.UnwrapWriter(sink(b, "aes-128-gcm"))
	chunk := make([]byte, 32<<10)
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
}
