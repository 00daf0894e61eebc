package singmux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
)

func TestStream(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		var got M.Socksaddr
		c := serve(t, h, Options{Handler: handler{stream: func(ctx context.Context, conn net.Conn, dst M.Socksaddr) {
			got = dst
			echo.stream(ctx, conn, dst)
		}}})
		conn := c.stream(tcpRequest, "hello")
		expect(t, conn, "\x00hello")
		for range 30 { // beyond the padded writes
			if _, err := io.WriteString(conn, "again"); err != nil {
				t.Fatal(err)
			}
			expect(t, conn, "again")
		}
		if got != tcpRequest.Destination {
			t.Errorf("destination = %s", got)
		}
	})
}

// 40 streams at once carry 256 KiB each way, and each stays apart.
func TestParallelStreams(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		c := serve(t, h, Options{Handler: echo})
		var wg sync.WaitGroup
		for i := range 40 {
			conn := c.stream(Request{Destination: M.Socksaddr{Fqdn: fmt.Sprint("host", i), Port: 1}}, "")
			data := strings.Repeat(fmt.Sprintf("%07d\n", i), 1<<15)
			wg.Go(func() { io.WriteString(conn, data) })
			wg.Go(func() {
				got := make([]byte, 1+len(data))
				n, err := io.ReadFull(conn, got)
				if err != nil || string(got[1:]) != data {
					t.Errorf("stream %d: %d bytes, %v", i, n, err)
				}
			})
		}
		wg.Wait()
	})
}

// The client's end arrives behind its data, and what is written then still arrives where the session
// has a half-close.
func TestHalfClose(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		if h.Protocol == ProtocolSmux {
			return
		}
		c := serve(t, h, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			b, err := io.ReadAll(conn)
			if err != nil {
				t.Error(err)
			}
			conn.Write(append([]byte("got "), b...))
		}}})
		conn := c.stream(tcpRequest, "all of it")
		if w, ok := conn.(interface{ CloseWrite() error }); ok {
			w.CloseWrite()
		} else {
			conn.Close() // yamux: only the writing side
		}
		expect(t, conn, "\x00got all of it")
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("err = %v, want EOF", err)
		}
	})
}

// The remote's end reaches the client at once, behind the data, and reading goes on or ends in order.
func TestRemoteEnds(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		result := make(chan error, 1)
		c := serve(t, h, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			conn.Write([]byte("answer"))
			conn.(*streamConn).CloseWrite()
			_, err := io.Copy(io.Discard, conn)
			result <- err
		}}})
		conn := c.stream(tcpRequest, "")
		expect(t, conn, "\x00answer")
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("err = %v, want EOF", err)
		}
		conn.Close()
		if err := <-result; err != nil {
			t.Errorf("reading ends with %v", err)
		}
	})
}

// A client that gives a stream up ends it on our side, whether it is read or written.
func TestClientCloses(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		result := make(chan error, 2)
		c := serve(t, h, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := io.Copy(io.Discard, conn)
				if err == nil && h.Protocol == ProtocolYamux { // its FIN may be a half-close
					err = conn.Close()
				}
				result <- err
			})
			var err error
			for err == nil {
				_, err = conn.Write(make([]byte, 1000))
			}
			result <- err
			wg.Wait()
		}}})
		conn := c.stream(tcpRequest, "")
		expect(t, conn, "\x00")
		conn.Close()
		<-result
		<-result
		again := c.stream(tcpRequest, "") // the session lives on
		expect(t, again, "\x00")
	})
}

func TestHandshake(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, "\x00"},
		{errors.New("denied by rule 7"), "\x01\x0bnot reached"},
		{fmt.Errorf("dial 10.0.0.1: %w", refused), "\x01\x12connection refused"},
		{fmt.Errorf("dial: %w", syscall.EHOSTUNREACH), "\x01\x10no route to host"},
		{fmt.Errorf("dial: %w", os.ErrDeadlineExceeded), "\x01\x09timed out"},
		{fmt.Errorf("dial: %w", context.DeadlineExceeded), "\x01\x09timed out"},
	} {
		forAll(t, func(t *testing.T, h Hello) {
			c := serve(t, h, Options{Handler: handler{
				stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
					if tt.err != nil {
						_ = conn.(N.HandshakeFailure).HandshakeFailure(tt.err)
						return
					}
					_ = conn.(*streamConn).HandshakeSuccess()
				},
				packet: func(_ context.Context, conn N.PacketConn, _ M.Socksaddr) {
					if tt.err != nil {
						_ = conn.(N.HandshakeFailure).HandshakeFailure(tt.err)
						return
					}
					_ = conn.WritePacket(buf.As([]byte("x")), M.Socksaddr{})
				},
			}})
			conn := c.stream(tcpRequest, "")
			if got, err := io.ReadAll(conn); string(got) != tt.want || err != nil {
				t.Errorf("stream: got %q, %v, want %q", got, err, tt.want)
			}
			want := tt.want
			if tt.err == nil {
				want = "\x00\x00\x01x"
			}
			conn = c.stream(Request{UDP: true, Destination: M.ParseSocksaddr("1.2.3.4:53")}, "")
			if got, err := io.ReadAll(conn); string(got) != want || err != nil {
				t.Errorf("packets: got %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestPackets(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		dst := make(chan M.Socksaddr, 1)
		c := serve(t, h, Options{Handler: handler{packet: func(ctx context.Context, conn N.PacketConn, d M.Socksaddr) {
			dst <- d
			conn.(N.PacketReadWaiter).InitializeReadWaiter(N.ReadWaitOptions{FrontHeadroom: 300})
			echo.packet(ctx, conn, d)
		}}})
		one := c.stream(Request{UDP: true, Destination: M.ParseSocksaddr("1.2.3.4:53")}, "\x00\x05query\x00\x00\x00\x01x")
		expect(t, one, "\x00\x00\x05query\x00\x01x")
		if d := <-dst; d != M.ParseSocksaddr("1.2.3.4:53") {
			t.Errorf("destination = %s", d)
		}
		to := "\x03\x04a.io\x00\x35"
		other := "\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x36"
		big := strings.Repeat("x", 40000)
		many := c.stream(Request{UDP: true, PerPacket: true, Destination: M.Socksaddr{Fqdn: Host, Port: 444}}, to+"\x00\x05query"+other+"\x00\x01x"+to+uint16be(40000)+big)
		expect(t, many, "\x00"+to+"\x00\x05query"+other+"\x00\x01x"+to+uint16be(40000)+big)
		if d := <-dst; d != (M.Socksaddr{}) {
			t.Errorf("destination = %s, want none", d)
		}
	})
}

// A packet that a deadline cuts in the middle is lost, and the next one is found.
func TestPacketDeadline(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		timedOut := make(chan struct{})
		c := serve(t, h, Options{Handler: handler{packet: func(ctx context.Context, conn N.PacketConn, d M.Socksaddr) {
			conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
			_, _, err := conn.(N.PacketReadWaiter).WaitReadPacket()
			if ne := net.Error(nil); !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("err = %v, want a timeout", err)
			}
			close(timedOut)
			conn.SetReadDeadline(time.Time{})
			echo.packet(ctx, conn, d)
		}}})
		conn := c.stream(Request{UDP: true, Destination: M.ParseSocksaddr("1.2.3.4:53")}, "\x00\x04lo")
		<-timedOut
		io.WriteString(conn, "st\x00\x05found")
		expect(t, conn, "\x00")
		rest, _ := readSome(conn, "found")
		if !strings.HasSuffix(rest, "\x00\x05found") {
			t.Errorf("got %q", rest)
		}
	})
}

// readSome reads until the bytes end in want.
func readSome(conn io.Reader, want string) (string, error) {
	var got []byte
	for !strings.HasSuffix(string(got), want) {
		b := make([]byte, 1)
		if _, err := conn.Read(b); err != nil {
			return string(got), err
		}
		got = append(got, b...)
	}
	return string(got), nil
}

// A read deadline can be taken back, as sniffing does.
func TestReadDeadline(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		timedOut := make(chan struct{})
		c := serve(t, h, Options{Handler: handler{stream: func(ctx context.Context, conn net.Conn, d M.Socksaddr) {
			conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, err := conn.(*streamConn).Peek(1)
			if ne := net.Error(nil); !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("err = %v, want a timeout", err)
			}
			close(timedOut)
			conn.SetReadDeadline(time.Time{})
			echo.stream(ctx, conn, d)
		}}})
		conn := c.stream(tcpRequest, "")
		<-timedOut
		io.WriteString(conn, "hello")
		expect(t, conn, "\x00hello")
	})
}

// What waits in the stream's own way gets the same bytes, and holds nothing while it waits.
func TestWaitReadBuffer(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		result, started := make(chan error, 1), make(chan struct{})
		c := serve(t, h, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			w := waiterOf(conn) // past the look-ahead, which must have nothing
			close(started)
			for {
				b, err := w.WaitReadBuffer()
				if err != nil {
					result <- err
					return
				}
				if b.Start() < 16 || b.FreeLen() < 16 {
					t.Errorf("%d bytes in front, %d behind", b.Start(), b.FreeLen())
				}
				conn.Write(b.Bytes())
				b.Release()
			}
		}}})
		data := strings.Repeat("0123456789abcdef", 1<<13)
		conn := c.stream(tcpRequest, "")
		<-started
		go io.WriteString(conn, data)
		expect(t, conn, "\x00"+data)
		io.WriteString(conn, "more")
		expect(t, conn, "more")
		if w, ok := conn.(interface{ CloseWrite() error }); ok {
			w.CloseWrite()
		} else {
			conn.Close()
		}
		if err := <-result; err != io.EOF {
			t.Errorf("err = %v, want EOF", err)
		}
	})
}
