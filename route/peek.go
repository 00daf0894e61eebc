package route

import (
	"errors"
	"io"
	"net"
	"slices"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/constant"
	"heki/internal/netio"
	"heki/option"
	"heki/route/sniff"
)

// sniffDatagrams is how many datagrams a QUIC client hello may be spread over.
const sniffDatagrams = 4

// sniffers says what to take from the first bytes.
type sniffers struct {
	protocols []string // whose domains are believed
	redirect  bool     // dial the sniffed domain instead of the address
}

func sniffersOf(o option.Route) sniffers {
	s := sniffers{protocols: o.Sniff, redirect: o.SniffRedirect}
	if len(s.protocols) == 0 {
		s.protocols = []string{constant.ProtocolTLS, constant.ProtocolHTTP, constant.ProtocolQUIC}
	}
	return s
}

// serverFirst lists ports on which the client waits for the server: there is nothing to look at.
var serverFirst = []uint16{21, 22, 25, 110, 143, 465, 587, 993, 995, 3306}

// stream looks at the first bytes of conn for at most 300 ms. The connection it returns still has
// them. An error means that the client is gone.
func (s sniffers) stream(conn net.Conn, md *adapter.Metadata) (net.Conn, error) {
	if slices.Contains(serverFirst, md.Destination.Port) {
		return conn, nil
	}
	ahead := netio.NewConn(conn)
	if err := ahead.SetReadDeadline(time.Now().Add(constant.SniffTimeout)); err != nil {
		return ahead, err
	}
	var result sniff.Result
	for len(ahead.Buffered()) < netio.BufferSize {
		if b := ahead.Buffered(); len(b) > 0 {
			var err error
			// With ErrMore the protocol may be certain already.
			if result, err = sniff.Stream(b); !errors.Is(err, sniff.ErrMore) {
				break
			}
		}
		if _, err := ahead.PeekMore(); err != nil {
			if isTimeout(err) || len(ahead.Buffered()) > 0 || err == io.EOF {
				break
			}
			return ahead, err
		}
	}
	s.note(md, result)
	return ahead, ahead.SetReadDeadline(time.Time{})
}

// packets looks at the first datagrams of a session; in keeps them.
func (s sniffers) packets(in *packetSource, md *adapter.Metadata) error {
	if err := in.conn.SetReadDeadline(time.Now().Add(constant.SniffTimeout)); err != nil {
		return err
	}
	var seen sniff.Packets
	var result sniff.Result
	for range sniffDatagrams {
		b, dst, err := in.waiter.WaitReadPacket()
		if err != nil {
			if isTimeout(err) || len(in.ahead) > 0 {
				break
			}
			return err
		}
		in.ahead = append(in.ahead, aheadPacket{b, dst})
		if result, err = seen.Feed(b.Bytes()); !errors.Is(err, sniff.ErrMore) {
			break
		}
	}
	s.note(md, result)
	return in.conn.SetReadDeadline(time.Time{})
}

// note writes down what was found. A domain counts only for the protocols asked for.
func (s sniffers) note(md *adapter.Metadata, r sniff.Result) {
	if r.Protocol == "" {
		return
	}
	md.Protocol = r.Protocol
	if r.Domain == "" || !slices.Contains(s.protocols, r.Protocol) {
		return
	}
	md.Domain = r.Domain
	if s.redirect && !md.Destination.IsFqdn() {
		md.Destination = M.Socksaddr{Fqdn: r.Domain, Port: md.Destination.Port}
		md.Addresses = nil
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
