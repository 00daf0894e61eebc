package adapter

import (
	"log/slog"
	"net/netip"
	"time"

	M "github.com/sagernet/sing/common/metadata"
)

// Metadata describes one connection or packet session. It is owned by the goroutine that accepted
// the connection and valid until RouteConn returns: copy what must outlive it.
type Metadata struct {
	ID          uint32         // correlates log lines
	Network     string         // constant.NetworkTCP or constant.NetworkUDP
	Inbound     string         // tag
	Protocol    string         // constant.Type…, later the sniffed protocol
	Source      netip.AddrPort // the client, after PROXY protocol or a trusted header
	Local       netip.AddrPort // the address it reached: source-IP egress
	User        *User
	Destination M.Socksaddr
	Domain      string       // sniffed
	Addresses   []netip.Addr // resolved
	Outbound    string
	TCPTimeout  time.Duration // idle; 0 is the default, below 0 never
	UDPTimeout  time.Duration // idle; 0 is the default, below 0 never
}

// LogValue implements slog.LogValuer, so that a disabled level costs nothing. It names the user and
// never shows a credential.
func (m *Metadata) LogValue() slog.Value {
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs,
		slog.Uint64("id", uint64(m.ID)),
		slog.String("in", m.Inbound),
		slog.String("from", m.Source.String()),
	)
	if m.User != nil {
		attrs = append(attrs, slog.String("user", m.User.Name))
	}
	if m.Destination.IsValid() {
		attrs = append(attrs, slog.String("to", m.Network+":"+m.Destination.String()))
	}
	if m.Domain != "" {
		attrs = append(attrs, slog.String("domain", m.Domain))
	}
	if m.Outbound != "" {
		attrs = append(attrs, slog.String("out", m.Outbound))
	}
	return slog.GroupValue(attrs...)
}
