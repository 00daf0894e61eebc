package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
)

// Loopback is the only address that the tests use.
const Loopback = "127.0.0.1"

// Ports for children come from below the kernel's range for outgoing connections (32768 and up on
// Linux): a port from that range could be taken between our look and the child's bind.
const firstPort, lastPort = 10000, 30000

// nextPort makes two cells of one test process never get the same port; the random start keeps
// two test processes apart.
var nextPort = func() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(rand.Uint32N(lastPort - firstPort))
	return &n
}()

// FreePort returns a port of 127.0.0.1 that is free for TCP and UDP and that no other caller gets.
func FreePort(t testing.TB) uint16 {
	t.Helper()
	for range 1000 {
		port := firstPort + nextPort.Add(1)%(lastPort-firstPort)
		if portIsFree(int(port)) {
			return uint16(port)
		}
	}
	t.Fatal("no free port")
	return 0
}

// portIsFree holds back the start of children: a child forked now would keep the probe's sockets
// open until its exec, and whoever waits for the port would reach them instead of the server.
func portIsFree(port int) bool {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	tcp, err := net.Listen("tcp", Address(uint16(port)))
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", Address(uint16(port)))
	if err != nil {
		return false
	}
	udp.Close()
	return true
}

// Address is a port of 127.0.0.1 as host:port.
func Address(port uint16) string { return net.JoinHostPort(Loopback, strconv.Itoa(int(port))) }

// PortOf is the port of a bound address.
func PortOf(a net.Addr) uint16 {
	switch a := a.(type) {
	case *net.TCPAddr:
		return uint16(a.Port)
	case *net.UDPAddr:
		return uint16(a.Port)
	}
	panic(fmt.Sprintf("no port in %T", a))
}
