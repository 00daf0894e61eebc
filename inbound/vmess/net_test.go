package vmess

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/inbound"
	"heki/inbound/inboundtest"
	"heki/internal/netio"
	"heki/internal/protocol/vmess"
	"heki/option"
	"heki/transport/tcp"
)

// echoes answers streams and packets with what they bring.
type echoes struct{}

func (echoes) RouteConn(_ context.Context, conn net.Conn, md *adapter.Metadata) error {
	defer conn.Close()
	if _, err := io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn}); err != nil {
		return err
	}
	return netio.CloseWrite(conn)
}

func (echoes) RoutePacketConn(_ context.Context, conn N.PacketConn, md *adapter.Metadata) error {
	defer conn.Close()
	w, ok := conn.(N.PacketReadWaiter)
	if !ok {
		return errors.New("no read waiter")
	}
	w.InitializeReadWaiter(netio.Room)
	for {
		b, dst, err := w.WaitReadPacket()
		if err != nil {
			return err
		}
		if dst.Fqdn == "" && dst != md.Destination {
			b.Reset()
		}
		err = conn.WritePacket(b, dst)
		netio.Put(b)
		if err != nil {
			return err
		}
	}
}

// serve runs an inbound with one user in front of echoes and returns its address.
func serve(t *testing.T, o option.VMess) string {
	t.Helper()
	o.Listen.Listen = option.Listable[string]{"127.0.0.1"}
	o.HandshakeTimeout = option.Duration(time.Minute)
	env := inbound.Env{Router: echoes{}, Listeners: new(tcp.Pool), Log: slog.New(slog.DiscardHandler)}
	in, err := New(env, "in", &o, NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	if err := in.SwapUsers([]*adapter.User{{Account: account(0)}}); err != nil {
		t.Fatal(err)
	}
	if err := in.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	return in.Addresses()[0].String()
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func TestUDP(t *testing.T) {
	addr := serve(t, option.VMess{Legacy: true})
	for _, c := range []client{
		{security: vmess.SecurityGCM, options: sealed, command: vmess.CommandUDP},
		{security: vmess.SecurityNone, options: padded, command: vmess.CommandUDP},
		{security: vmess.SecurityLegacy, options: vmess.OptionChunkStream, command: vmess.CommandUDP, legacy: true},
	} {
		dst := M.ParseSocksaddr("192.0.2.1:53")
		s, first := c.request(account(0), dst)
		pc := vmess.NewPacketConn(vmess.NewClientConn(netio.NewConn(dial(t, addr)), s, first, nil), dst)
		for _, p := range []string{"query", strings.Repeat("long ", 12_000), "again"} {
			if err := pc.WritePacket(buf.As([]byte(p)), dst); err != nil {
				t.Fatal(err)
			}
			got := buf.NewSize(vmess.MaxPacket)
			if _, err := pc.ReadPacket(got); err != nil || string(got.Bytes()) != p {
				t.Errorf("%s: %d bytes of %d, %v", c.security, got.Len(), len(p), err)
			}
			got.Release()
		}
	}
}

func TestMux(t *testing.T) {
	addr := serve(t, option.VMess{})
	c := client{security: vmess.SecurityGCM, options: padded, command: vmess.CommandMux}
	s, first := c.request(account(0), M.Socksaddr{})
	conn := vmess.NewClientConn(netio.NewConn(dial(t, addr)), s, first, nil)
	// Stream 1 to 192.0.2.1:80, with data.
	open := []byte("\x00\x0c\x00\x01\x01\x01\x01\x00\x50\x01\xc0\x00\x02\x01\x00\x05hello")
	if _, err := conn.Write(open); err != nil {
		t.Fatal(err)
	}
	want := []byte("\x00\x04\x00\x01\x02\x01\x00\x05hello")
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x, %v; want %x", got, err, want)
	}
}

// Whatever is wrong with a request, its sender gets silence for the time of a handshake and then an
// orderly end.
func TestRefusalsLookAlike(t *testing.T) {
	users := people(1, 0)
	standing := func() time.Time { return someTime }
	good := client{security: vmess.SecurityGCM, at: someTime}
	md5 := good
	md5.legacy = true
	p := good.protocol(option.VMess{Legacy: true}, 0)
	p.Now = standing
	p.Account = func(int) adapter.Account { return users[0].Account }
	const handshake = 2 * time.Second // longer than a busy machine takes to write
	s := inboundtest.Start(t, p, inboundtest.Waiting(handshake), 1)
	request := func(c client) []byte {
		_, first := c.request(users[0].Account, destination)
		return first
	}
	when := func(c client, seconds int) client {
		c.at = at(seconds)
		return c
	}
	strange := func(c client) []byte {
		_, first := c.request(people(2, 0)[1].Account, destination)
		return first
	}
	flip := func(first []byte, i int) []byte {
		first[i] ^= 1
		return first
	}
	replayed := inboundtest.Serve(t, s, func(to M.Socksaddr) []byte {
		_, first := good.request(users[0].Account, to)
		return first
	})
	var wg sync.WaitGroup
	for name, first := range map[string][]byte{
		"replayed":           replayed,
		"replayed start":     replayed[:40],
		"121 s early":        request(when(good, 121)),
		"121 s late":         request(when(good, -121)),
		"md5 121 s late":     request(when(md5, -121)),
		"stranger":           strange(good),
		"md5 stranger":       strange(md5),
		"15 bytes":           request(good)[:15],
		"auth id":            request(good)[:16],
		"half":               request(good)[:90],
		"md5 half":           request(md5)[:60],
		"changed length":     flip(request(good), 20),
		"changed header":     flip(request(good), 60),
		"md5 changed header": flip(request(md5), 60),
		"command":            request(client{security: vmess.SecurityGCM, at: someTime, command: 9}),
		"security":           request(client{security: 2, at: someTime}),
		"random":             bytes.Repeat([]byte("x9"), 1000),
	} {
		wg.Go(func() {
			start := time.Now()
			c := s.Dial(t)
			defer c.Close()
			if _, err := c.Write(first); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got, err := io.ReadAll(c)
			if d := time.Since(start); len(got) > 0 || err != nil || d < handshake-50*time.Millisecond {
				t.Errorf("%s: %d bytes, %v after %s", name, len(got), err, d)
			}
		})
	}
	wg.Wait()
}

// 119 s off is served, from a client whose clock is that wrong.
func TestClockOffIsServed(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		for _, off := range []int{-119, 119} {
			c := client{security: vmess.SecurityGCM, options: padded, at: at(off), legacy: legacy}
			p := c.protocol(option.VMess{Legacy: true}, 0)
			p.Now = func() time.Time { return someTime }
			s := inboundtest.Start(t, p, inboundtest.Waiting(time.Minute), 1)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				if c, err := l.Accept(); err == nil {
					_, _ = io.ReadFull(c, make([]byte, 1))
					_, _ = c.Write([]byte("hello"))
					c.Close()
				}
			}()
			conn := c.stream(account(0), l.Addr(), s.Dial(t))
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
				t.Errorf("%d s off: %q, %v", off, got, err)
			}
			conn.Close()
		}
	}
}
