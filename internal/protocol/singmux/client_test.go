package singmux

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
	"github.com/xtaci/smux"
	"go.uber.org/goleak"

	"heki/internal/protocol/wire"
	"heki/internal/protocol/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler is a Handler of two functions.
type handler struct {
	stream func(ctx context.Context, conn net.Conn, dst M.Socksaddr)
	packet func(ctx context.Context, conn N.PacketConn, dst M.Socksaddr)
}

func (h handler) NewStream(ctx context.Context, conn net.Conn, dst M.Socksaddr) {
	defer conn.Close()
	if h.stream != nil {
		h.stream(ctx, conn, dst)
	}
}

func (h handler) NewPacket(ctx context.Context, conn N.PacketConn, dst M.Socksaddr) {
	defer conn.Close()
	if h.packet != nil {
		h.packet(ctx, conn, dst)
	}
}

// waiterOf is how a relay reads: the stream's own way to wait.
func waiterOf(conn net.Conn) N.ReadWaiter {
	w := conn.(*streamConn).raw.(N.ReadWaiter)
	w.InitializeReadWaiter(N.ReadWaitOptions{FrontHeadroom: 16, RearHeadroom: 16})
	return w
}

// echo answers with what it gets and ends when the client has ended.
var echo = handler{
	stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
		if _, err := io.Copy(conn, conn); err == nil {
			_ = conn.(interface{ CloseWrite() error }).CloseWrite()
		}
	},
	packet: func(_ context.Context, conn N.PacketConn, _ M.Socksaddr) {
		for {
			b, from, err := conn.(N.PacketReadWaiter).WaitReadPacket()
			if err != nil {
				return
			}
			if conn.WritePacket(b, from) != nil {
				return
			}
		}
	},
}

// hold keeps everything open until its connection ends, without reading.
var hold = handler{
	stream: func(ctx context.Context, _ net.Conn, _ M.Socksaddr) { <-ctx.Done() },
	packet: func(ctx context.Context, _ N.PacketConn, _ M.Socksaddr) { <-ctx.Done() },
}

// tcpPair returns both ends of a connection on loopback.
func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// ahead is a look-ahead that can be waited in like netio's.
func ahead(conn net.Conn) wire.Conn { return wiretest.NewPeeker(conn) }

// client is the other end of a Serve.
type client struct {
	t      testing.TB
	conn   net.Conn
	cancel context.CancelFunc // ends Serve
	result chan error         // of Serve
	open   func() (net.Conn, error)
	end    func()
}

// kinds are all hellos that a client sends.
var kinds = map[string]Hello{
	"smux":         {Protocol: ProtocolSmux},
	"yamux":        {Protocol: ProtocolYamux},
	"h2mux":        {Protocol: ProtocolHTTP2},
	"smux padded":  {Protocol: ProtocolSmux, Padding: true, PaddingSize: 700},
	"yamux padded": {Protocol: ProtocolYamux, Padding: true, PaddingSize: 300},
	"h2mux padded": {Protocol: ProtocolHTTP2, Padding: true, PaddingSize: 0},
}

// forAll runs f for all kinds.
func forAll(t *testing.T, f func(t *testing.T, h Hello)) {
	for name, h := range kinds {
		t.Run(name, func(t *testing.T) { f(t, h) })
	}
}

// serve runs Serve for a client that speaks h.
func serve(t testing.TB, h Hello, opt Options) *client {
	t.Helper()
	near, far := tcpPair(t)
	ctx, cancel := context.WithCancel(context.Background())
	c := &client{t: t, conn: near, cancel: cancel, result: make(chan error, 1)}
	opt.Ahead = ahead
	go func() { c.result <- Serve(ctx, wiretest.NewPeeker(far), opt) }()
	if _, err := near.Write(AppendHello(nil, h)); err != nil {
		t.Fatal(err)
	}
	c.session(newCarrier(wiretest.NewPeeker(near), h), h.Protocol)
	t.Cleanup(func() {
		c.end()
		cancel()
		select {
		case <-c.result:
		case <-time.After(time.Minute):
			t.Error("Serve does not return")
		}
	})
	return c
}

func (c *client) session(conn net.Conn, p Protocol) {
	switch p {
	case ProtocolSmux:
		s, err := smux.Client(conn, smuxConfig())
		if err != nil {
			c.t.Fatal(err)
		}
		c.open = func() (net.Conn, error) { return s.OpenStream() }
		c.end = func() { s.Close() }
	case ProtocolYamux:
		s, err := yamux.Client(conn, yamuxConfig())
		if err != nil {
			c.t.Fatal(err)
		}
		c.open = s.Open
		c.end = func() { s.Close() }
	default:
		c.http2(conn)
	}
}

func (c *client) http2(conn net.Conn) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{
		Protocols:   &protocols,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	// Not the transport's own pool: it dials again for a request that comes before it has put the first one's
	// connection into the pool.
	session, err := tr.NewClientConn(context.Background(), "http", "localhost:80")
	if err != nil {
		c.t.Fatal(err)
	}
	c.open = func() (net.Conn, error) {
		if err := session.Reserve(); err != nil { // as many as the server has told
			return nil, err
		}
		r, w := io.Pipe()
		ctx, cancel := context.WithCancel(context.Background())
		req := &http.Request{Method: "CONNECT", URL: &url.URL{Scheme: "http", Host: "localhost"}, Host: "localhost", Body: r, Header: make(http.Header)}
		res, err := session.RoundTrip(req.WithContext(ctx))
		if err != nil {
			cancel()
			return nil, err
		}
		if res.StatusCode != 200 {
			cancel()
			return nil, errors.New(res.Status)
		}
		return &http2Client{Conn: conn, up: w, down: res.Body, cancel: cancel}, nil
	}
	c.end = func() {
		conn.Close()
		session.Close()
	}
}

// http2Client is a stream of the client.
type http2Client struct {
	net.Conn
	up     *io.PipeWriter
	down   io.ReadCloser
	cancel context.CancelFunc
}

func (c *http2Client) Read(p []byte) (int, error)  { return c.down.Read(p) }
func (c *http2Client) Write(p []byte) (int, error) { return c.up.Write(p) }
func (c *http2Client) CloseWrite() error           { return c.up.Close() }
func (c *http2Client) Close() error {
	c.cancel()
	c.up.Close()
	return c.down.Close()
}

// stream opens a stream and sends its request with payload.
func (c *client) stream(r Request, payload string) net.Conn {
	c.t.Helper()
	conn, err := c.open()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write(append(AppendRequest(nil, r), payload...)); err != nil {
		c.t.Fatal(err)
	}
	return conn
}

var tcpRequest = Request{Destination: M.ParseSocksaddr("example.com:443")}

// expect reads want from conn.
func expect(t testing.TB, conn io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("%d bytes %.100q, %v; want %.100q", n, got[:n], err, want)
	}
}

func uint16be(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }
