package reality

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"heki/internal/netio"
	"heki/transport/tls"
)

// memory is what lives after all garbage is gone.
func memory() int64 {
	var m runtime.MemStats
	for range 4 { // stacks shrink by half a cycle
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// mute is a target that costs the process no memory of its own: it reads a little and ends.
func mute(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 64))
			_, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 40})
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

// A thousand failed probes leave nothing behind.
func TestProbesLeaveNothing(t *testing.T) {
	h := start(t, newOptions(t, mute(t)))
	wrong := helloOf(t, user{key: bytes.Repeat([]byte{9}, 32)})
	round := func(n int) {
		for i := range n {
			c, err := net.Dial("tcp", h.addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			switch i % 4 {
			case 0:
				_, _ = c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
			case 1:
				_, _ = c.Write(wrong)
			case 2:
				_, _ = c.Write(wrong[:200])
			case 3: // goes away at once
			}
			if i%4 != 3 {
				_, _ = io.Copy(io.Discard, c)
			}
			_ = c.Close()
			if err := <-h.results; !errors.Is(err, ErrStranger) {
				t.Fatal(err)
			}
		}
	}
	round(200)
	goroutines, fds := runtime.NumGoroutine(), descriptors(t)
	const probes, most = 1000, 256 << 10 // a quarter of a KiB for each would be a leak
	grown := int64(most + 1)
	for range 3 { // a leak grows each time, what the runtime keeps for a crowd does not
		if grown <= most {
			break
		}
		before := memory()
		round(probes)
		grown = memory() - before
	}
	for range 6000 { // a handshake's last goroutine may be on its way out
		if runtime.NumGoroutine() <= goroutines && descriptors(t) <= fds+2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("%d probes: %d bytes more, %d goroutines and %d descriptors after %d and %d", probes, grown, runtime.NumGoroutine(), descriptors(t), goroutines, fds)
	if n := descriptors(t); n > fds+2 {
		t.Errorf("%d descriptors are left", n-fds)
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines are left", n-goroutines)
	}
	if grown > most {
		t.Errorf("%d bytes are left", grown)
	}
}

// The memory for ClientHellos has a bound.
func TestSeen(t *testing.T) {
	var s seen
	tag := func(i int) (id [16]byte) {
		id[0], id[1], id[2] = byte(i), byte(i>>8), byte(i>>16)
		return id
	}
	for i := range 5 * maxSeen {
		if !s.add(tag(i)) {
			t.Fatalf("%d is not new", i)
		}
		if i%1000 == 0 && s.add(tag(i)) {
			t.Fatalf("%d is new again", i)
		}
	}
	if n := len(s.now) + len(s.old); n > 2*maxSeen {
		t.Errorf("%d are kept", n)
	}
	for i := 5*maxSeen - maxSeen; i < 5*maxSeen; i++ {
		if s.add(tag(i)) {
			t.Fatalf("%d, one of the newest, is forgotten", i)
		}
	}
}

// BenchmarkIdle prints what an authenticated connection costs that waits: its state and two goroutines,
// one for the client and one for a remote as a relay has it. Sockets of the kernel are not counted.
func BenchmarkIdle(b *testing.B) {
	const conns = 200
	site := newTarget(b, nil)
	s, err := New(newOptions(b, site.Listener.Addr().String()), time.Now, nil)
	if err != nil {
		b.Fatal(err)
	}
	var total float64
	for b.Loop() {
		total += idleBytes(b, s, conns)
	}
	b.ReportMetric(total/float64(b.N)/1024, "KiB/conn")
	b.ReportMetric(0, "ns/op")
}

// idleBytes is the growth that the server's side causes: the clients' side is there before and after.
func idleBytes(b *testing.B, s *Server, conns int) float64 {
	var clients, idle []net.Conn
	var served []*tls.Conn
	for range conns {
		client, server := tcpPair(b)
		failed := make(chan error, 1)
		go func() {
			_, err := user{}.dial(client)
			failed <- err
		}()
		c, err := s.Handshake(b.Context(), server)
		if cerr := <-failed; err != nil || cerr != nil {
			b.Fatal(err, cerr)
		}
		clients, idle, served = append(clients, client), append(idle, server), append(served, c)
	}
	var wg sync.WaitGroup
	wait := make(chan struct{}) // stands for the remote
	for _, c := range served {
		wg.Go(func() { <-wait })
		wg.Go(func() {
			for {
				buffer, err := c.WaitReadBuffer()
				if err != nil {
					return
				}
				netio.Put(buffer)
			}
		})
	}
	with := memory()
	close(wait)
	for i := range conns {
		_, _ = clients[i].Close(), idle[i].Close()
	}
	wg.Wait()
	runtime.KeepAlive(clients)
	return float64(with-memory()) / float64(conns)
}

func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

// BenchmarkHandshake has the target and the client in the same process.
func BenchmarkHandshake(b *testing.B) {
	site := newTarget(b, nil)
	s, err := New(newOptions(b, site.Listener.Addr().String()), time.Now, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		client, server := tcpPair(b)
		go func() { _, _ = user{}.dial(client) }()
		c, err := s.Handshake(b.Context(), server)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = client.Close(), c.Close()
	}
}
