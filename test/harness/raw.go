package harness

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Duplex is a connection whose sending side can be finished alone.
type Duplex interface {
	net.Conn
	CloseWrite() error
}

// Way opens TCP connections to a destination ("host:port") behind the server under test.
type Way interface {
	Dial(ctx context.Context, destination string) (Duplex, error)
}

// Raw speaks VLESS, Trojan or VMess by itself, over TCP or TLS. It does what the real clients do not:
// finish one direction and go on with the other, and send what no client sends.
type Raw struct {
	Road   Road
	User   User
	Server string        // host:port
	TLS    *tls.Config   // with Road.TLS
	Ahead  time.Duration // VMess: of the client's clock
}

// Dial implements Way.
func (r Raw) Dial(ctx context.Context, destination string) (Duplex, error) {
	conn, err := r.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if r.Road.Protocol == "vmess" {
		return r.dialVMess(conn, destination)
	}
	request, err := r.Request(destination)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if _, err := conn.Write(request); err != nil {
		conn.Close()
		return nil, err
	}
	if r.Road.Protocol == "vless" {
		conn = &vlessConn{Duplex: conn}
	}
	return conn, nil
}

// Connect opens the TCP or TLS connection and says nothing on it.
func (r Raw) Connect(ctx context.Context) (Duplex, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.Server)
	if err != nil {
		return nil, err
	}
	if !r.Road.TLS {
		return conn.(*net.TCPConn), nil
	}
	secure := tls.Client(conn, r.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// Request is the header that asks for a TCP connection to destination.
func (r Raw) Request(destination string) ([]byte, error) {
	if r.Road.Protocol == "vmess" {
		_, request, err := r.vmess(destination)
		return request, err
	}
	address, err := appendSocksAddress(nil, destination)
	if err != nil {
		return nil, err
	}
	if r.Road.Protocol == "trojan" {
		sum := sha256.Sum224([]byte(r.User.Password))
		head := hex.EncodeToString(sum[:]) + "\r\n\x01"
		return append(append([]byte(head), address...), "\r\n"...), nil
	}
	id, err := hex.DecodeString(strings.ReplaceAll(r.User.UUID, "-", ""))
	if err != nil {
		return nil, err
	}
	b := append([]byte{0}, id...) // version
	b = append(b, 0, 1)           // no addons; TCP
	// VLESS puts the port first and counts kinds 1, 2, 3 where SOCKS has 1, 3, 4.
	kind, host, port := address[0], address[1:len(address)-2], address[len(address)-2:]
	if kind != socksIPv4 {
		kind--
	}
	return append(append(append(b, port...), kind), host...), nil
}

// vlessConn takes the response header off the first bytes.
type vlessConn struct {
	Duplex
	answered bool
}

func (c *vlessConn) Read(p []byte) (int, error) {
	if !c.answered {
		var head [2]byte
		if _, err := io.ReadFull(c.Duplex, head[:]); err != nil {
			return 0, err
		}
		if head != [2]byte{} {
			return 0, fmt.Errorf("vless response header %x", head)
		}
		c.answered = true
	}
	return c.Duplex.Read(p)
}

// Probe writes what a prober would, finishes sending when finish is set, and returns everything
// that comes back until the server closes or patience ends; closed tells which.
func (r Raw) Probe(payload []byte, finish bool, patience time.Duration) (answer []byte, closed bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	conn, err := r.Connect(ctx)
	if err != nil {
		return nil, false, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(payload); err != nil {
		return nil, true, nil
	}
	if finish {
		conn.CloseWrite()
	}
	answer, err = io.ReadAll(conn)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return answer, false, nil
	}
	return answer, true, nil // a reset is a way to close too
}
