package hysteria2

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sagernet/quic-go"
	"github.com/sagernet/quic-go/http3"

	"heki/option"
)

// fakeNFT puts a program nft on PATH that writes down what it is given, prints tables, and ends with
// code. It returns what was written so far.
func fakeNFT(t *testing.T, code int, tables string) func() string {
	t.Helper()
	dir := t.TempDir()
	record := filepath.Join(dir, "record")
	script := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = list ]; then printf '%s'; exit %d; fi\n/bin/cat >> %s\necho 'Error: Operation not permitted' >&2\nexit %d\n", tables, code, record, code)
	if err := os.WriteFile(filepath.Join(dir, "nft"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	return func() string {
		b, err := os.ReadFile(record)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(b)
	}
}

// freePorts are n ports in a row that nobody has.
func freePorts(t *testing.T, n int) []uint16 {
	t.Helper()
	for range 100 {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		all, open := []uint16{addrPort(c.LocalAddr()).Port()}, []net.PacketConn{c}
		for len(all) < n {
			port := all[len(all)-1] + 1
			next, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				break
			}
			all, open = append(all, port), append(open, next)
		}
		for _, c := range open {
			_ = c.Close()
		}
		if len(all) == n {
			return all
		}
	}
	t.Fatal("no free ports")
	return nil
}

func hopping(listen uint16, ports ...string) option.Hysteria2 {
	o := option.Hysteria2{Hysteria2Local: option.Hysteria2Local{ListenPorts: ports}}
	o.ListenPort = listen
	return o
}

func TestRedirectScript(t *testing.T) {
	ranges := []option.PortRange{{First: 443, Last: 443}, {First: 20000, Last: 30000}}
	for addr, want := range map[string][]string{
		"[::]:8443": {
			"\t\tfib daddr type local udp dport { 443, 20000-30000 } dnat to :8443\n",
			"\t\tip daddr != 127.0.0.0/8 fib daddr type local udp",
			"\t\tip6 daddr != ::1 fib daddr type local udp",
		},
		"0.0.0.0:8443":         {"\t\tmeta nfproto ipv4 fib daddr type local udp", "\t\tip daddr != 127.0.0.0/8 fib"},
		"127.0.0.1:8443":       {"\t\tip daddr 127.0.0.1 udp", "\t\tip daddr 127.0.0.1 udp"},
		"[2001:db8::7]:8443":   {"\t\tip6 daddr 2001:db8::7 udp", "\t\tip6 daddr 2001:db8::7 udp"},
		"[fe80::7%eth0]:8443":  {"\t\tip6 daddr fe80::7 udp", "\t\tip6 daddr fe80::7 udp"},
		"[::ffff:1.2.3.4]:843": {"\t\tip daddr 1.2.3.4 udp", "\t\tip daddr 1.2.3.4 udp"},
	} {
		key := portKey{addr: netip.MustParseAddrPort(addr)}
		got, name := redirectScript(key, 8443, ranges), tableName(key, 8443)
		rules := strings.Count(got, "dnat to :8443\n")
		if !strings.HasPrefix(got, "add table inet "+name+"\ndelete table inet "+name+"\ntable inet "+name+" {\n") || rules != len(want) {
			t.Errorf("%s: %d rules, want %d:\n%s", addr, rules, len(want), got)
		}
		for _, w := range want {
			_, rest, ok := strings.Cut(got, w)
			if !ok {
				t.Errorf("%s: no %q in\n%s", addr, w, got)
			}
			got = rest
		}
	}
	on := redirectScript(portKey{addr: netip.MustParseAddrPort("[::]:1"), device: "eth0"}, 1, ranges)
	if !strings.Contains(on, "\t\tiifname \"eth0\" fib daddr type local udp") || strings.Contains(on, "output") {
		t.Errorf("on a device:\n%s", on)
	}
}

func TestWithout(t *testing.T) {
	for _, tt := range []struct {
		port uint16
		want string
	}{{1, "[5-9 12]"}, {5, "[6-9 12]"}, {7, "[5-6 8-9 12]"}, {9, "[5-8 12]"}, {12, "[5-9]"}} {
		if got := fmt.Sprint(without([]option.PortRange{{First: 5, Last: 9}, {First: 12, Last: 12}}, tt.port)); got != tt.want {
			t.Errorf("without %d: %s, want %s", tt.port, got, tt.want)
		}
	}
}

// Where nft works it is told of the ports, of others when they change, and of the end. Connections live on.
func TestRedirect(t *testing.T) {
	said := fakeNFT(t, 0, `table inet heki_hop_1_00000000\ntable inet filter\ntable inet heki_hop_x\n`)
	own := freePorts(t, 1)[0]
	pool, cert, to := new(Pool), certificate(t), echo(t)
	o := hopping(own, "20000-30000", fmt.Sprint(own))
	o.TLS = cert
	old := startOn(t, pool, o, 1)
	name := tableName(portKey{addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), own)}, own)
	if got := said(); !strings.HasPrefix(got, "delete table inet heki_hop_1_00000000\nadd table inet "+name+"\n") ||
		strings.Count(got, fmt.Sprintf("{ 20000-30000 } dnat to :%d\n", own)) != 2 {
		t.Errorf("at start:\n%s", got)
	}
	c := join(t, old, 0)
	s, _ := c.open(to)
	o.ListenPorts = option.Listable[string]{"21000:31000"}
	next := startOn(t, pool, o, 1)
	old.Retire()
	if got := said(); strings.Count(got, "{ 21000-31000 }") != 2 || strings.HasSuffix(got, "delete table inet "+name+"\n") {
		t.Errorf("after a change:\n%s", got)
	}
	if _, err := io.WriteString(s, "alive"); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
		t.Errorf("the connection from before: %v", err)
	}
	_ = c.conn.CloseWithError(0, "")
	_, _ = old.Close(), next.Close()
	if got := said(); !strings.HasSuffix(got, "}\ndelete table inet "+name+"\n") {
		t.Errorf("after the end:\n%s", got)
	}
}

// hopper is a client's socket that sends each datagram to the next port.
type hopper struct {
	*net.UDPConn
	ports []uint16
	count atomic.Uint32
}

func (h *hopper) WriteTo(b []byte, to net.Addr) (int, error) {
	next := *to.(*net.UDPAddr)
	next.Port = int(h.ports[int(h.count.Add(1))%len(h.ports)])
	return h.UDPConn.WriteTo(b, &next)
}

// SyscallConn keeps QUIC from going round WriteTo.
func (*hopper) SyscallConn() {}

// Without nft each port has a socket, all of one connection's datagrams may come to any, and with
// Salamander too.
func TestHopSockets(t *testing.T) {
	for name, obfs := range map[string]*option.Hysteria2Obfs{"plain": nil, "salamander": {Type: "salamander", Password: "a secret"}} {
		t.Run(name, func(t *testing.T) {
			fakeNFT(t, 1, "")
			ports := freePorts(t, 5)
			o := hopping(ports[0], fmt.Sprintf("%d-%d", ports[1], ports[4]))
			o.Obfs, o.TLS = obfs, certificate(t)
			pool := new(Pool)
			in := startOn(t, pool, o, 1)
			if n := len(in.open[0].port.conn.(*sockets).all); n != len(ports) {
				t.Fatalf("%d sockets", n)
			}
			for _, port := range ports {
				c := dialTo(t, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)}, obfs)
				if resp := c.login(account(0).Password, 0); resp.StatusCode != 233 {
					t.Errorf("port %d: status %d", port, resp.StatusCode)
				}
				_ = c.conn.CloseWithError(0, "")
			}
			if obfs == nil {
				hopAll(t, in, ports)
			}
			// Other ports need other sockets.
			o.ListenPorts = nil
			next := startOn(t, pool, o, 1)
			in.Retire()
			join(t, next, 0)
			if c, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", ports[2])); err != nil {
				t.Errorf("a port that is not served any more: %v", err)
			} else {
				_ = c.Close()
			}
		})
	}
}

// hopAll echoes a megabyte over a connection whose every datagram goes to another port.
func hopAll(t *testing.T, in *Inbound, ports []uint16) {
	t.Helper()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: &hopper{UDPConn: socket, ports: ports}}
	defer func() { _, _ = tr.Close(), socket.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := tr.Dial(ctx, in.Addresses()[0], &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, &quic.Config{EnableDatagrams: true})
	if err != nil {
		t.Fatal(err)
	}
	h3 := new(http3.Transport)
	defer h3.Close()
	c := &client{t, conn, h3.NewClientConn(conn)}
	c.login(account(0).Password, 0)
	s, _ := c.open(echo(t))
	want := bytes.Repeat([]byte("hop "), 1<<18)
	go func() { _, _ = s.Write(want) }()
	got := make([]byte, len(want))
	_ = s.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the echo differs, %v", err)
	}
	_ = conn.CloseWithError(0, "")
}

// A port that somebody has is left out, and so is what is beyond the bound.
func TestHopSocketsBound(t *testing.T) {
	fakeNFT(t, 1, "")
	ports := freePorts(t, 3)
	busy, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", ports[1]))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	in := start(t, hopping(ports[0], fmt.Sprintf("%d-%d", ports[1], ports[2])), 1)
	if n := len(in.open[0].port.conn.(*sockets).all); n != 2 {
		t.Errorf("%d sockets", n)
	}
	if resp, _ := dial(t, in).do(http.MethodGet, "https://a.example/", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("status %d", resp.StatusCode)
	}
	wide := start(t, hopping(freePorts(t, 1)[0], "10000-20000"), 1)
	if n := len(wide.open[0].port.conn.(*sockets).all); n > 1+maxHopSockets || n < maxHopSockets/2 {
		t.Errorf("%d sockets of a wide range", n)
	}
}

func TestBoundPorts(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		c, err := net.ListenPacket("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		port := addrPort(c.LocalAddr()).Port()
		bound, err := boundPorts()
		if err != nil || !bound[port] {
			t.Errorf("%s: port %d is not among %d, %v", address, port, len(bound), err)
		}
		_ = c.Close()
	}
	if ranges := []option.PortRange{{First: 1, Last: 1}}; !slices.Equal(without(ranges, 2), ranges) {
		t.Error("a range without the port changed")
	}
}
