package anytls

import (
	"bufio"
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"

	M "github.com/sagernet/sing/common/metadata"
	"go.uber.org/goleak"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
	"heki/internal/protocol/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler is a Handler of one function.
type handler func(ctx context.Context, conn net.Conn, dst M.Socksaddr)

func (h handler) NewStream(ctx context.Context, conn net.Conn, dst M.Socksaddr) {
	h(ctx, conn, dst)
	_ = conn.Close()
}

// echo says yes and answers with what it gets.
func echo(_ context.Context, conn net.Conn, _ M.Socksaddr) {
	_ = succeed(conn)
	_, _ = io.Copy(conn, conn)
}

// hold keeps a stream open until its session ends, without reading.
func hold(ctx context.Context, _ net.Conn, _ M.Socksaddr) { <-ctx.Done() }

// raw is the stream itself.
func raw(conn net.Conn) *stream { return conn.(*wiretest.Peeker).Conn.(*stream) }

func succeed(conn net.Conn) error { return raw(conn).HandshakeSuccess() }

func options(h handler) Options {
	return Options{Handler: h, Ahead: func(c net.Conn) wire.Conn { return wiretest.NewPeeker(c) }}
}

// got is a frame from the server.
type got struct {
	Frame
	data string
}

// client is the other end of a Serve. It runs inside a synctest bubble.
type client struct {
	t      testing.TB
	conn   net.Conn
	frames chan got
	result chan error // of Serve
}

// dial starts a Serve and a client of it that has sent no settings yet.
func dial(t testing.TB, opt Options) *client {
	t.Helper()
	c := dialQuiet(t.Context(), t, opt)
	go c.pump()
	return c
}

// dialQuiet is dial without a goroutine that reads: the server's writes block.
func dialQuiet(ctx context.Context, t testing.TB, opt Options) *client {
	t.Helper()
	local, remote := net.Pipe()
	c := &client{t: t, conn: local, frames: make(chan got, 10_000), result: make(chan error, 1)}
	go func() { c.result <- Serve(ctx, wiretest.NewPeeker(remote), 0, opt) }()
	return c
}

// session is dial with the settings of a client of that version, all answers read.
func session(t testing.TB, version int, opt Options) *client {
	t.Helper()
	c := dial(t, opt)
	c.settings(Settings{Version: version, PaddingMD5: DefaultScheme().MD5()})
	if version >= 2 {
		c.want(CommandServerSettings, 0, "v=2")
	}
	return c
}

func (c *client) pump() {
	defer close(c.frames)
	r := bufio.NewReader(c.conn)
	for {
		f, err := readFrame(r)
		if err != nil {
			return
		}
		c.frames <- f
	}
}

func readFrame(r *bufio.Reader) (got, error) {
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return got{}, err
	}
	f, _, err := ParseFrame(head)
	if err != nil {
		return got{}, err
	}
	data := make([]byte, f.Length)
	_, err = io.ReadFull(r, data)
	return got{f, string(data)}, err
}

// send sends a frame.
func (c *client) send(cmd Command, id uint32, data string) {
	c.t.Helper()
	if _, err := c.conn.Write(appendText(nil, cmd, id, data)); err != nil {
		c.t.Errorf("client write: %v", err)
	}
}

func (c *client) settings(s Settings) {
	c.t.Helper()
	c.send(CommandSettings, 0, string(AppendSettings(nil, s)))
}

// open opens a stream and sends data on it.
func (c *client) open(id uint32, dst, data string) {
	c.t.Helper()
	c.send(CommandSYN, id, "")
	c.send(CommandPSH, id, string(address.AppendS(nil, M.ParseSocksaddr(dst)))+data)
}

// want expects a frame.
func (c *client) want(cmd Command, id uint32, data string) {
	c.t.Helper()
	f, ok := <-c.frames
	if !ok {
		c.t.Fatalf("the session is gone, want command %d", cmd)
	}
	if f.Command != cmd || f.Stream != id || f.data != data {
		c.t.Errorf("got command %d of %d with %q, want %d of %d with %q", f.Command, f.Stream, f.data, cmd, id, data)
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

// close ends the session and returns what Serve said.
func (c *client) close() error {
	_ = c.conn.Close()
	return <-c.result
}
