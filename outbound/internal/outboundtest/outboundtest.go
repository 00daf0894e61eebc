// Package outboundtest has the little servers, and the surroundings, that tests of outbounds need.
package outboundtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/internal/netio"
	"heki/option"
	"heki/outbound"
)

// Patience is how long a test waits for what must come.
const Patience = time.Minute

// Hosts is a resolver with a fixed table.
type Hosts map[string][]netip.Addr

// Lookup implements adapter.Resolver.
func (h Hosts) Lookup(_ context.Context, _, host string) ([]netip.Addr, error) {
	if addrs := h[host]; len(addrs) > 0 {
		return addrs, nil
	}
	return nil, fmt.Errorf("no such host %s", host)
}

// Env is for constructors.
func Env(h Hosts) outbound.Env {
	return outbound.Env{Resolver: h, Log: slog.New(slog.DiscardHandler)}
}

// Serve hands the connections of a port of 127.0.0.1 to handle, which may leave closing to it, and
// returns the port. It ends with the test, after the handlers.
func Serve(t testing.TB, handle func(c *netio.Conn) error) option.Remote {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	over := false
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			if over { // nobody else closes it
				_ = c.Close()
			}
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				if err := handle(netio.NewConn(c)); err != nil && !errors.Is(err, net.ErrClosed) { // closed: below, in the end
					t.Errorf("server: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		over = true
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return option.Remote{Server: "127.0.0.1", ServerPort: uint16(l.Addr().(*net.TCPAddr).Port)}
}

// Refused is a port of 127.0.0.1 that nobody listens on.
func Refused(t testing.TB) option.Remote {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return option.Remote{Server: "127.0.0.1", ServerPort: uint16(l.Addr().(*net.TCPAddr).Port)}
}

// To is the metadata of a connection to an address, host:port.
func To(address string) *adapter.Metadata {
	return &adapter.Metadata{Destination: M.ParseSocksaddr(address)}
}

// Dial dials and closes with the test.
func Dial(t testing.TB, out adapter.Outbound, address string) net.Conn {
	t.Helper()
	c, err := out.Dial(t.Context(), To(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); out.Close() })
	_ = c.SetDeadline(time.Now().Add(Patience))
	return c
}

// Says fails unless the next bytes of c are text.
func Says(t testing.TB, c io.Reader, text string) {
	t.Helper()
	b := make([]byte, len(text))
	if n, err := io.ReadFull(c, b); string(b[:n]) != text {
		t.Fatalf("read %q, %v; want %q", b[:n], err, text)
	}
}

// Fails checks that dialling tells all of words and nothing of secret.
func Fails(t testing.TB, out adapter.Outbound, md *adapter.Metadata, secret string, words ...string) {
	t.Helper()
	c, err := out.Dial(t.Context(), md)
	if err == nil {
		c.Close()
		t.Fatal("dialled")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
	if secret != "" && strings.Contains(err.Error(), secret) {
		t.Errorf("error %q tells the credential", err)
	}
}

// Packets listens for packets and closes with the test.
func Packets(t testing.TB, out adapter.Outbound, address string) N.PacketConn {
	t.Helper()
	c, err := out.ListenPacket(t.Context(), To(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); out.Close() })
	_ = c.SetReadDeadline(time.Now().Add(Patience))
	return c
}

// Sends sends a packet.
func Sends(t testing.TB, c N.PacketConn, address, text string) M.Socksaddr {
	t.Helper()
	dst := M.ParseSocksaddr(address)
	b := buf.NewSize(netio.Headroom + len(text))
	b.Resize(netio.Headroom, 0)
	_, _ = b.WriteString(text)
	if err := c.WritePacket(b, dst); err != nil {
		t.Fatal(err)
	}
	return dst
}

// Asks sends a packet and fails unless the next that comes is answer from that address. It reads both
// with and without a waiter in turns.
func Asks(t testing.TB, c N.PacketConn, address, text, answer string) {
	t.Helper()
	dst := Sends(t, c, address, text)
	var got *buf.Buffer
	var from M.Socksaddr
	var err error
	if w := waiter(c); w != nil && len(text)%2 == 0 {
		got, from, err = w.WaitReadPacket()
	} else {
		got = buf.NewSize(1 << 16)
		from, err = c.ReadPacket(got)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer netio.Put(got)
	if string(got.Bytes()) != answer || from != dst {
		t.Fatalf("got %q from %s, want %q from %s", got.Bytes(), from, answer, dst)
	}
}

func waiter(c N.PacketConn) N.PacketReadWaiter {
	if m, ok := c.(N.PacketReadWaitCreator); ok {
		w, _ := m.CreateReadWaiter()
		return w
	}
	w, _ := c.(N.PacketReadWaiter)
	return w
}

// Echo answers every packet with the same after "re:".
func Echo(c N.PacketConn) error {
	for {
		b := buf.NewSize(1 << 16)
		b.Resize(netio.Headroom, 0)
		dst, err := c.ReadPacket(b)
		if err != nil {
			b.Release()
			return nil //nolint:nilerr // the client is done
		}
		re := buf.NewSize(netio.Headroom + 3 + b.Len())
		re.Resize(netio.Headroom, 0)
		_, _ = re.WriteString("re:" + string(b.Bytes()))
		b.Release()
		if err := c.WritePacket(re, dst); err != nil {
			return nil //nolint:nilerr // the client is done
		}
	}
}

// Writes checks that writing chunks to c takes no allocation once the stream is under way.
func Writes(t testing.TB, c net.Conn) {
	t.Helper()
	chunk := make([]byte, 16<<10)
	w := netio.UnwrapWriter(c)
	if n := testing.AllocsPerRun(100, func() { _, _ = w.Write(chunk) }); n > 0 {
		t.Errorf("%v allocations a chunk, want none", n)
	}
}
