package harness

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Banner is what the banner target says before it hears anything.
const Banner = "220 ready\r\n"

// ack answers a command that asks for it.
const ack = "ok\n"

// lateness is far longer than the way of an upgrade's answer on loopback.
const lateness = 100 * time.Millisecond

// Targets are the servers behind the server under test.
type Targets struct {
	TCP    string // host:port; obeys the first line of a connection, see serve
	Banner string // host:port; says Banner first, then echoes
	UDP    [2]string

	mu      sync.Mutex
	results map[uint64]chan string // what "first" read, by id
	conns   map[net.Conn]struct{}
	closed  bool
	wg      sync.WaitGroup
}

// StartTargets starts the targets on free ports of 127.0.0.1 and stops them with the test.
func StartTargets(t testing.TB) *Targets {
	t.Helper()
	s := &Targets{results: make(map[uint64]chan string), conns: make(map[net.Conn]struct{})}
	var closers []io.Closer
	listen := func(handle func(net.Conn)) string {
		l, err := net.Listen("tcp", Loopback+":0")
		if err != nil {
			t.Fatal(err)
		}
		closers = append(closers, l)
		s.wg.Go(func() { s.accept(l, handle) })
		return l.Addr().String()
	}
	s.TCP = listen(s.serve)
	s.Banner = listen(func(conn net.Conn) {
		io.WriteString(conn, Banner)
		io.Copy(conn, conn)
	})
	for i := range s.UDP {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(Loopback)})
		if err != nil {
			t.Fatal(err)
		}
		closers = append(closers, conn)
		s.UDP[i] = conn.LocalAddr().String()
		s.wg.Go(func() { serveUDP(conn) })
	}
	t.Cleanup(func() {
		for _, c := range closers {
			c.Close()
		}
		s.mu.Lock()
		s.closed = true
		for conn := range s.conns {
			conn.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

// ByName is address with the name localhost instead of the IP.
func ByName(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return net.JoinHostPort("localhost", port)
}

func (s *Targets) accept(l net.Listener, handle func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			conn.Close()
		}
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() {
			handle(conn)
			conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

// serve obeys the first line of a connection:
//
//	echo [ID]       send back what comes, until the client has finished; Result(ID) then tells
//	sink N          read N bytes, answer with their SHA-256 as a line
//	source N SEED   send N bytes of Stream(SEED), close
//	tail ID         read until the client has finished, answer "N SHA-256" as a line; Result(ID) is
//	                the same
//	first N SEED ID send N bytes of Stream(SEED), finish sending, read on until the client has
//	                finished too; Result(ID) is then "N SHA-256" of what was read
//	ack COMMAND     say ack, then obey
//	late COMMAND    obey after a pause
func (s *Targets) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		return
	}
	line, late := strings.CutPrefix(line, "late ")
	if late {
		<-time.After(lateness)
	}
	line, acked := strings.CutPrefix(line, "ack ")
	if acked {
		io.WriteString(conn, ack)
	}
	var n int64
	var seed, id uint64
	switch verb, args, _ := strings.Cut(strings.TrimSpace(line), " "); verb {
	case "echo":
		n, _ := io.Copy(conn, in)
		if _, err := fmt.Sscan(args, &id); err == nil {
			s.result(id) <- fmt.Sprintf("%d bytes", n)
		}
	case "sink":
		if _, err := fmt.Sscan(args, &n); err != nil {
			return
		}
		_, sum, err := Digest(io.LimitReader(in, n))
		if err != nil {
			return
		}
		fmt.Fprintf(conn, "%s\n", sum)
		io.Copy(io.Discard, in)
	case "source":
		if _, err := fmt.Sscan(args, &n, &seed); err != nil {
			return
		}
		io.CopyN(conn, Stream(seed), n)
	case "tail":
		if _, err := fmt.Sscan(args, &id); err != nil {
			return
		}
		text := summary(in)
		fmt.Fprintf(conn, "%s\n", text)
		s.result(id) <- text
	case "first":
		if _, err := fmt.Sscan(args, &n, &seed, &id); err != nil {
			return
		}
		io.CopyN(conn, Stream(seed), n)
		conn.(*net.TCPConn).CloseWrite()
		s.result(id) <- summary(in)
	}
}

// summary reads r to its end: "N SHA-256", and the error if that is no proper end.
func summary(r io.Reader) string {
	size, sum, err := Digest(r)
	text := fmt.Sprintf("%d %s", size, sum)
	if err != nil {
		text += " " + err.Error()
	}
	return text
}

// Result is the channel on which a connection with this id says once that it is over, as far as its
// command tells.
func (s *Targets) Result(id uint64) <-chan string { return s.result(id) }

func (s *Targets) result(id uint64) chan string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.results[id]
	if !ok {
		c = make(chan string, 1)
		s.results[id] = c
	}
	return c
}

// tell is a datagram that asks a UDP target for the address it sees.
var tell = []byte("tell")

// serveUDP sends each datagram back, or the sender's address when asked to tell it.
func serveUDP(conn *net.UDPConn) {
	packet := make([]byte, 64<<10)
	for {
		n, source, err := conn.ReadFromUDP(packet)
		if err != nil {
			return
		}
		answer := packet[:n]
		if bytes.HasPrefix(answer, tell) {
			answer = fmt.Appendf(nil, "%s %s", answer, source)
		}
		conn.WriteToUDP(answer, source)
	}
}

// Stream is an endless reader of bytes that depend only on seed.
func Stream(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// StreamSum is the SHA-256 in hex of the first n bytes of Stream(seed).
func StreamSum(seed uint64, n int64) string {
	_, sum, _ := Digest(io.LimitReader(Stream(seed), n))
	return sum
}

// Digest reads r to its end and returns the size and SHA-256 in hex of what it read, on an error too.
func Digest(r io.Reader) (n int64, sum string, err error) {
	h := sha256.New()
	n, err = io.Copy(h, r)
	return n, Sum(h), err
}

// Sum is a hash's sum in hex.
func Sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
