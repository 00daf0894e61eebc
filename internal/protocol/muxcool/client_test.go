package muxcool

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
	"go.uber.org/goleak"

	"heki/internal/protocol/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler is a Handler of two functions. A missing one closes at once.
type handler struct {
	stream func(ctx context.Context, conn net.Conn, dst M.Socksaddr)
	packet func(ctx context.Context, conn N.PacketConn, dst M.Socksaddr)
}

func (h handler) NewStream(ctx context.Context, conn net.Conn, dst M.Socksaddr) {
	if h.stream != nil {
		h.stream(ctx, conn, dst)
	}
	_ = conn.Close()
}

func (h handler) NewPacket(ctx context.Context, conn N.PacketConn, dst M.Socksaddr) {
	if h.packet != nil {
		h.packet(ctx, conn, dst)
	}
	_ = conn.Close()
}

// echo answers with what it gets.
var echo = handler{
	stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) { _, _ = io.Copy(conn, conn) },
	packet: func(_ context.Context, conn N.PacketConn, _ M.Socksaddr) {
		for {
			b := buf.NewSize(20_000)
			b.Resize(300, 0)
			from, err := conn.ReadPacket(b)
			if err != nil {
				b.Release()
				return
			}
			if conn.WritePacket(b, from) != nil {
				return
			}
		}
	},
}

// hold keeps everything open until its connection or session ends, without reading.
var hold = handler{
	stream: func(ctx context.Context, _ net.Conn, _ M.Socksaddr) { <-ctx.Done() },
	packet: func(ctx context.Context, _ N.PacketConn, _ M.Socksaddr) { <-ctx.Done() },
}

// got is a frame from the server.
type got struct {
	Frame
	data string
}

// client is the other end of a Serve. It runs inside a synctest bubble.
type client struct {
	t      *testing.T
	conn   net.Conn
	frames chan got
	result chan error // of Serve
}

// dial starts a Serve and a client of it.
func dial(t *testing.T, opt Options) *client {
	t.Helper()
	c := dialQuiet(t, opt)
	go c.pump()
	return c
}

// dialQuiet is dial without a goroutine that reads: the server's writes block.
func dialQuiet(t *testing.T, opt Options) *client {
	t.Helper()
	return dialContext(t.Context(), t, opt)
}

// dialContext is dialQuiet with a context of its own.
func dialContext(ctx context.Context, t *testing.T, opt Options) *client {
	t.Helper()
	local, remote := net.Pipe()
	c := &client{t: t, conn: local, frames: make(chan got, 10_000), result: make(chan error, 1)}
	go func() { c.result <- Serve(ctx, wiretest.NewPeeker(remote), opt) }()
	return c
}

// pump reads frames and checks what holds for all of them.
func (c *client) pump() {
	defer close(c.frames)
	r := bufio.NewReader(c.conn)
	for {
		f, err := readFrame(r)
		if err != nil {
			return
		}
		if f.Status == StatusNew {
			c.t.Errorf("the server sent New: %+v", f)
		}
		if f.Length > ChunkSize {
			c.t.Errorf("payload of %d bytes, at most %d", f.Length, ChunkSize)
		}
		c.frames <- f
	}
}

// readFrame reads one frame with its payload. When that is cut, the frame comes with the error.
func readFrame(r *bufio.Reader) (got, error) {
	for size := 2; ; size++ {
		b, err := r.Peek(size)
		if err != nil {
			return got{}, err
		}
		f, n, err := ParseFrame(b, "")
		if errors.Is(err, ErrShort) {
			continue
		}
		if err != nil {
			return got{}, err
		}
		_, _ = r.Discard(n)
		data := make([]byte, f.Length)
		if _, err := io.ReadFull(r, data); err != nil {
			return got{Frame: f}, err
		}
		return got{f, string(data)}, nil
	}
}

// raw sends bytes.
func (c *client) raw(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Errorf("client write: %v", err)
	}
}

// send sends a frame, with data when it is not "".
func (c *client) send(f Frame, data string) {
	c.t.Helper()
	c.raw(encode(f, data))
}

func encode(f Frame, data string) string {
	if data != "" {
		f.Option |= OptionData
		f.Length = len(data)
	}
	return string(AppendFrame(nil, f)) + data
}

func (c *client) open(id uint16, dst, data string) {
	c.t.Helper()
	c.send(Frame{ID: id, Status: StatusNew, Network: NetworkTCP, Address: M.ParseSocksaddr(dst)}, data)
}

func (c *client) openUDP(id uint16, dst, data string) {
	c.t.Helper()
	c.send(udp(id, StatusNew, dst), data)
}

func udp(id uint16, status Status, addr string) Frame {
	return Frame{ID: id, Status: status, Network: NetworkUDP, Address: M.ParseSocksaddr(addr)}
}

func (c *client) keep(id uint16, data string) {
	c.t.Helper()
	c.send(Frame{ID: id, Status: StatusKeep}, data)
}

func (c *client) end(id uint16) {
	c.t.Helper()
	c.send(Frame{ID: id, Status: StatusEnd}, "")
}

// recv returns the next frame of the server.
func (c *client) recv() got {
	c.t.Helper()
	f, ok := <-c.frames
	if !ok {
		c.t.Fatal("the connection is gone")
	}
	return f
}

// want expects data on a session.
func (c *client) want(id uint16, data string) {
	c.t.Helper()
	if f := c.recv(); f.ID != id || f.Status != StatusKeep || f.data != data {
		c.t.Errorf("got %+v, want %q on %d", f, data, id)
	}
}

// wantEnd expects an End.
func (c *client) wantEnd(id uint16, option uint8) {
	c.t.Helper()
	if f := c.recv(); f.ID != id || f.Status != StatusEnd || f.Option != option {
		c.t.Errorf("got %+v, want End of %d, option %d", f, id, option)
	}
}

// silent expects no frame once everything has come to rest.
func (c *client) silent() {
	c.t.Helper()
	synctest.Wait()
	select {
	case f, ok := <-c.frames:
		c.t.Errorf("got %+v (%v), want nothing", f, ok)
	default:
	}
}

// close ends the connection and returns what Serve said.
func (c *client) close() error {
	_ = c.conn.Close()
	return <-c.result
}
