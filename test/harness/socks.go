package harness

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Socks is the SOCKS5 port of a client, without authentication (RFC 1928).
type Socks string

// SOCKS5 bytes of RFC 1928 §3 to §6.
const (
	socksVersion   = 5
	socksNoAuth    = 0
	socksConnect   = 1
	socksAssociate = 3
	socksIPv4      = 1
	socksDomain    = 3
	socksIPv6      = 4
)

// Dial connects to destination ("host:port", a name stays a name) through the client. A refused
// request is an error that names the reply code.
func (s Socks) Dial(ctx context.Context, destination string) (Duplex, error) {
	conn, _, err := s.request(ctx, socksConnect, destination)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// request does one SOCKS5 handshake and returns the address in the reply.
func (s Socks) request(ctx context.Context, command byte, destination string) (*net.TCPConn, string, error) {
	target, err := appendSocksAddress([]byte{socksVersion, command, 0}, destination)
	if err != nil {
		return nil, "", err
	}
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", string(s))
	if err != nil {
		return nil, "", err
	}
	conn := raw.(*net.TCPConn)
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	bound, err := handshake(conn, target)
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, "", fmt.Errorf("socks %s to %s: %w", s, destination, err)
	}
	return conn, bound, nil
}

func handshake(conn net.Conn, request []byte) (bound string, err error) {
	if _, err := conn.Write([]byte{socksVersion, 1, socksNoAuth}); err != nil {
		return "", err
	}
	var method [2]byte
	if _, err := io.ReadFull(conn, method[:]); err != nil {
		return "", err
	}
	if method != [2]byte{socksVersion, socksNoAuth} {
		return "", fmt.Errorf("method answer %x", method)
	}
	if _, err := conn.Write(request); err != nil {
		return "", err
	}
	var head [3]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return "", err
	}
	if head[1] != 0 {
		return "", fmt.Errorf("refused with code %d", head[1])
	}
	return readSocksAddress(conn)
}

// Association is one UDP ASSOCIATE: one client socket, many destinations.
type Association struct {
	control *net.TCPConn // the association lives as long as this
	conn    *net.UDPConn
	relay   *net.UDPAddr
}

// Associate opens a UDP association.
func (s Socks) Associate(ctx context.Context) (*Association, error) {
	control, bound, err := s.request(ctx, socksAssociate, "0.0.0.0:0")
	if err != nil {
		return nil, err
	}
	relay, err := net.ResolveUDPAddr("udp", bound)
	if err != nil {
		control.Close()
		return nil, err
	}
	if relay.IP.IsUnspecified() { // RFC 1928 leaves it open; the address of the TCP port is meant
		relay.IP = control.RemoteAddr().(*net.TCPAddr).IP
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(Loopback)})
	if err != nil {
		control.Close()
		return nil, err
	}
	return &Association{control: control, conn: conn, relay: relay}, nil
}

// Close ends the association.
func (a *Association) Close() error { return errors.Join(a.conn.Close(), a.control.Close()) }

// Send sends one datagram to destination ("host:port").
func (a *Association) Send(destination string, payload []byte) error {
	packet, err := appendSocksAddress([]byte{0, 0, 0}, destination)
	if err != nil {
		return err
	}
	_, err = a.conn.WriteToUDP(append(packet, payload...), a.relay)
	return err
}

// Receive waits for one datagram and returns where it says it comes from.
func (a *Association) Receive(timeout time.Duration) (source string, payload []byte, err error) {
	packet := make([]byte, 64<<10)
	a.conn.SetReadDeadline(time.Now().Add(timeout))
	n, _, err := a.conn.ReadFromUDP(packet)
	if err != nil {
		return "", nil, err
	}
	if n < 3 || packet[2] != 0 {
		return "", nil, fmt.Errorf("datagram with header %x", packet[:min(n, 3)])
	}
	r := &sliceReader{packet[3:n]}
	source, err = readSocksAddress(r)
	return source, r.rest, err
}

// sliceReader is an io.Reader whose rest can be looked at.
type sliceReader struct{ rest []byte }

func (r *sliceReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// appendSocksAddress encodes host:port: kind, address, port in big endian.
func appendSocksAddress(b []byte, address string) ([]byte, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, err
	}
	switch ip, err := netip.ParseAddr(host); {
	case err == nil && ip.Is4():
		b = append(append(b, socksIPv4), ip.AsSlice()...)
	case err == nil:
		b = append(append(b, socksIPv6), ip.AsSlice()...)
	case len(host) > 255:
		return nil, fmt.Errorf("name of %d bytes", len(host))
	default:
		b = append(append(b, socksDomain, byte(len(host))), host...)
	}
	return binary.BigEndian.AppendUint16(b, uint16(port)), nil
}

func readSocksAddress(r io.Reader) (string, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return "", err
	}
	size := 0
	switch head[0] {
	case socksIPv4:
		size = 4
	case socksIPv6:
		size = 16
	case socksDomain:
		if _, err := io.ReadFull(r, head[1:]); err != nil {
			return "", err
		}
		size = int(head[1])
	default:
		return "", fmt.Errorf("address kind %d", head[0])
	}
	body := make([]byte, size+2)
	if _, err := io.ReadFull(r, body); err != nil {
		return "", err
	}
	host, port := string(body[:size]), binary.BigEndian.Uint16(body[size:])
	if head[0] != socksDomain {
		ip, _ := netip.AddrFromSlice(body[:size])
		host = ip.Unmap().String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}
