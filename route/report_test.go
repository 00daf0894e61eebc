package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/option"
)

// reporting is a connection whose protocol tells its client how dialling went.
type reporting struct {
	net.Conn
	reports chan string
	err     error // of HandshakeSuccess
}

func (c *reporting) HandshakeSuccess() error {
	c.reports <- "success"
	return c.err
}

func (c *reporting) HandshakeFailure(err error) error {
	c.reports <- err.Error()
	return nil
}

// wrapped hides it.
type wrapped struct {
	net.Conn
	inner any
}

func (w wrapped) Upstream() any { return w.inner }

func TestReports(t *testing.T) {
	denied := option.Route{Audit: []string{"*"}}
	gone := errors.New("gone")
	limit := fmt.Errorf("3 of 3 connections: %w", adapter.ErrLimited)
	for _, tt := range []struct {
		name   string
		o      option.Route
		meter  *meter
		client error // of HandshakeSuccess
		want   string
		err    error
	}{
		{"success", option.Route{}, new(meter), nil, "success", nil},
		{"client gone", option.Route{}, new(meter), gone, "success", gone},
		{"denied", denied, new(meter), nil, "denied by route.audit[0]: *", ErrDenied},
		{"limited", option.Route{}, &meter{refuse: limit}, nil, limit.Error(), adapter.ErrLimited},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := newPipeOutbound("direct")
			r := newRouter(t, tt.o, set{"direct": out})
			client, server := net.Pipe()
			defer client.Close()
			conn := &reporting{server, make(chan string, 2), tt.client}
			done := make(chan error, 1)
			go func() {
				done <- r.RouteConn(context.Background(), wrapped{conn, conn}, metadata("192.0.2.1:80", tt.meter))
			}()
			got := <-conn.reports
			if got != tt.want {
				t.Errorf("reported %q, want %q", got, tt.want)
			}
			if tt.name == "success" {
				(<-out.remotes).Close()
				client.Close()
			}
			if err := <-done; !errors.Is(err, tt.err) {
				t.Errorf("err = %v, want %v", err, tt.err)
			}
			if len(conn.reports) > 0 {
				t.Errorf("reported again: %q", <-conn.reports)
			}
		})
	}
}

// reportingPackets is the same for a packet session that nothing is read from.
type reportingPackets struct {
	net.PacketConn
	reports chan string
}

func (c *reportingPackets) HandshakeFailure(err error) error {
	c.reports <- err.Error()
	return nil
}
func (c *reportingPackets) Close() error { return nil }
func (c *reportingPackets) ReadPacket(*buf.Buffer) (M.Socksaddr, error) {
	return M.Socksaddr{}, net.ErrClosed
}
func (c *reportingPackets) WritePacket(*buf.Buffer, M.Socksaddr) error { return net.ErrClosed }

func TestReportsOfPackets(t *testing.T) {
	for name, tt := range map[string]struct {
		o     option.Route
		meter *meter
		err   error
	}{
		"denied":  {option.Route{Rules: []option.RouteTo{{Match: []string{"port:1"}, Outbound: "direct"}}}, new(meter), ErrDenied},
		"limited": {option.Route{}, &meter{refuse: adapter.ErrLimited}, adapter.ErrLimited},
	} {
		r := newRouter(t, tt.o, set{"direct": newPipeOutbound("direct")})
		conn := &reportingPackets{reports: make(chan string, 1)}
		if err := r.RoutePacketConn(context.Background(), conn, metadata("192.0.2.1:80", tt.meter)); !errors.Is(err, tt.err) {
			t.Errorf("%s: err = %v", name, err)
		}
		select {
		case <-conn.reports:
		default:
			t.Errorf("%s: no report", name)
		}
	}
}
