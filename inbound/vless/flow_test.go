package vless

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/inbound"
	"heki/internal/netio"
	"heki/internal/protocol/vision"
	"heki/internal/protocol/vless"
)

// Who may do what with which flow; what is refused is explained.
func TestFlowPolicy(t *testing.T) {
	const none, flow = "", vless.FlowVision
	xudp := "\x00\x0c\x00\x00\x01\x01\x02\x00\x35\x01\x01\x02\x03\x04\x00\x01x"
	stream := "\x00\x0c\x00\x01\x01\x01\x01\x00\x35\x01\x01\x02\x03\x04\x00\x01x"
	for _, tt := range []struct {
		name          string
		user, request string
		command       vless.Command
		rest          string
		outer         net.Conn
		log           string // "": allowed
	}{
		{"none", none, none, vless.CommandTCP, "", nil, ""},
		{"none, mux", none, none, vless.CommandMux, "", nil, ""},
		{"flow", flow, flow, vless.CommandTCP, "", leavable{}, ""},
		{"flow, mux", flow, flow, vless.CommandMux, "", leavable{}, ""},
		{"flow, udp", flow, flow, vless.CommandUDP, "", leavable{}, "XUDP only"},
		{"flow without TLS", flow, flow, vless.CommandTCP, "", nil, "needs TLS 1.3"},
		{"flow in TLS 1.2", flow, flow, vless.CommandTCP, "", leavable{err: errors.New("old")}, "err=old"},
		{"flow that the user lacks", none, flow, vless.CommandTCP, "", leavable{}, "does not have"},
		{"another flow", flow, "xtls-rprx-direct", vless.CommandTCP, "", leavable{}, "does not have"},
		{"forgotten", flow, none, vless.CommandTCP, "", leavable{}, "does not ask"},
		{"forgotten, udp", flow, none, vless.CommandUDP, "", leavable{}, ""},
		{"forgotten, xudp", flow, none, vless.CommandMux, xudp, leavable{}, ""},
		{"forgotten, mux", flow, none, vless.CommandMux, stream, leavable{}, "does not ask"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log strings.Builder
			in := &Inbound{log: slog.New(slog.NewTextHandler(&log, nil))}
			user := &adapter.User{Account: account(0)}
			user.Flow = tt.user
			if err := in.SwapUsers([]*adapter.User{user}); err != nil {
				t.Fatal(err)
			}
			req := vless.Request{UUID: user.UUID, Flow: tt.request, Command: tt.command, Destination: M.ParseSocksaddr("192.0.2.1:80")}
			b := append(vless.AppendRequest(nil, req), tt.rest...)
			conn := netio.NewConn(tt.outer)
			_, n, err := in.authenticate(b, conn, new(adapter.Metadata))
			if tt.log == "" {
				if err != nil || n != len(b)-len(tt.rest) {
					t.Errorf("err = %v, %d bytes; log = %s", err, n, &log)
				}
				return
			}
			if !errors.Is(err, inbound.ErrBadFlow) || !strings.Contains(log.String(), tt.log) || !strings.Contains(log.String(), "user=a") {
				t.Errorf("err = %v, log = %s", err, &log)
			}
		})
	}
}

// leavable is a connection that can leave TLS, unless err says why not.
type leavable struct {
	outer
	net.Conn
	err error
}

func (l leavable) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

func (l leavable) CanLeave() error          { return l.err }
func (l leavable) NetConn() net.Conn        { return l.Conn }
func (l leavable) Read([]byte) (int, error) { return 0, io.EOF }

// The first frame of a mux connection without the flow is waited for.
func TestFlowPolicyWaits(t *testing.T) {
	in := &Inbound{log: slog.New(slog.DiscardHandler)}
	user := &adapter.User{Account: visionAccount(0)}
	if err := in.SwapUsers([]*adapter.User{user}); err != nil {
		t.Fatal(err)
	}
	b := vless.AppendRequest(nil, vless.Request{UUID: user.UUID, Command: vless.CommandMux})
	for _, more := range []string{"", "\x00", "\x00\x0c\x00\x00\x01\x01"} {
		if _, _, err := in.authenticate(append(b, more...), netio.NewConn(nil), new(adapter.Metadata)); !errors.Is(err, vless.ErrShort) {
			t.Errorf("with %q: %v, want ErrShort", more, err)
		}
	}
}

// A stream inside Mux.Cool with the flow ends the connection.
func TestVisionMuxHasNoStreams(t *testing.T) {
	s, dst := startVision(t, nil), plainSite(t)
	c := dialVision(visionAccount(0), dst, s.dial(t))
	c.request = vless.AppendRequest(nil, vless.Request{UUID: c.user, Flow: vless.FlowVision, Command: vless.CommandMux})
	frame := "\x00\x0c\x00\x01\x01\x01\x01\x00\x35\x01\x7f\x00\x00\x01\x00\x01x"
	if _, err := c.Write([]byte(frame)); err != nil {
		t.Fatal(err)
	}
	_ = c.Conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.Copy(io.Discard, c); errors.Is(err, net.ErrClosed) || isTimeout(err) {
		t.Errorf("err = %v", err)
	}
	_ = s.inbound.Close() // waits for the line
	if !strings.Contains(s.log.String(), "Mux.Cool for TCP off") {
		t.Errorf("log = %s", s.log.String())
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestSeed(t *testing.T) {
	user := &adapter.User{Account: visionAccount(0)}
	if got := seedOf(user); got != vision.DefaultSeed() {
		t.Errorf("seed = %v", got)
	}
	user.Seed = adapter.Seed{1, 2, 3, 4}
	if got, want := seedOf(user), (vision.Seed{1, 2, 3, 4}); got != want {
		t.Errorf("seed = %v, want %v", got, want)
	}
}
