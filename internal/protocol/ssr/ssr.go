// Package ssr is ShadowsocksR: three layers over TCP, two over UDP, each chosen by name for a port.
//
//	TCP: payload | protocol | cipher | obfs | socket          UDP: payload | protocol | cipher | socket
//
// The layers are packages of their own below this one. Here they are put together: Handshake finds out
// who a client is without consuming a byte of it, Conn is the stream after that, from either end, and
// a Port makes and opens datagrams. The facts are those of ssr.md, the sources are shadowsocksr 3.2.2,
// shadowsocks-mod and their clients.
//
// What it is not: safe. Most of the ciphers do not authenticate, the MACs of frames have 16 or 32 bits.
package ssr

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/ssr/cipher"
	"heki/internal/protocol/ssr/obfs"
	"heki/internal/protocol/ssr/protocol"
	"heki/internal/protocol/wire"
)

// ErrRequest says that the payload of a client does not begin with an address.
var ErrRequest = errors.New("no address")

// Config names the layers of a port.
type Config struct {
	Method, Password string
	Protocol         string
	Obfs, ObfsParam  string // ObfsParam as the server's: see obfs.NewServer
	Interval         int    // of auth_chain_f, in seconds; 0 is a day
}

// Port is a configured combination of layers. It is for any number of goroutines.
type Port struct {
	method   cipher.Method
	key      []byte
	spec     protocol.Spec
	protocol *protocol.Port
	obfsSpec obfs.Spec
	obfs     *obfs.Server
	seals    *cipher.Datagrams
	forms    *protocol.Datagrams
}

// NewPort returns the port of c.
func NewPort(c Config) (*Port, error) {
	p := new(Port)
	var ok bool
	if p.method, ok = cipher.ByName(c.Method); !ok {
		return nil, fmt.Errorf("method %q is unknown", c.Method)
	}
	if p.spec, ok = protocol.ByName(c.Protocol); !ok {
		return nil, fmt.Errorf("protocol %q is unknown", c.Protocol)
	}
	if p.obfsSpec, ok = obfs.ByName(c.Obfs); !ok {
		return nil, fmt.Errorf("obfs %q is unknown", c.Obfs)
	}
	p.key = cipher.Key(c.Password, p.method.KeySize)
	p.protocol = protocol.NewPort(p.spec, p.key, p.spec.Overhead+p.obfsSpec.Overhead, c.Interval)
	p.obfs = obfs.NewServer(p.obfsSpec, p.key, c.ObfsParam)
	p.seals = p.method.Datagrams(p.key)
	p.forms = p.protocol.Datagrams()
	return p, nil
}

// Key is the key of the port: the key of everybody where users are not told apart.
func (p *Port) Key() []byte { return p.key }

// UserKey is what a user's password becomes for the protocol, nil for protocols without users.
func (p *Port) UserKey(password string) []byte { return p.spec.UserKey(password) }

// KnowsUsers says that the protocol tells users apart by number.
func (p *Port) KnowsUsers() bool { return p.spec.Users }

// NamesHosts says that clients name a host in the obfs.
func (p *Port) NamesHosts() bool { return p.obfsSpec.Hosts }

// DefaultClients is how many client processes a user has at once where nothing is said.
const DefaultClients = 64

// ParseServerParam reads a server's protocol_param, "max_client" or "max_client#interval". What is no
// number is the default: clients' params come here too.
func ParseServerParam(text string) (clients, interval int) {
	first, second, _ := strings.Cut(text, "#")
	clients, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || clients <= 0 {
		clients = DefaultClients
	}
	interval, err = strconv.Atoi(strings.TrimSpace(second))
	if err != nil || interval <= 0 {
		interval = protocol.DefaultInterval
	}
	return min(clients, maxClients), interval
}

// overTCP marks, in the type of the first address, a stream that carries datagrams (ssr.md §1).
const overTCP = 0x08

// parseAddress reads the address at the start of b.
func parseAddress(b []byte, hint string) (addr M.Socksaddr, n int, packets bool, err error) {
	if len(b) > 0 && b[0]&overTCP != 0 {
		// The address is meaningless then, but has to be one.
		var rest [address.Max]byte
		m := copy(rest[:], b)
		rest[0] &^= overTCP
		addr, n, err = address.ParseS(rest[:m], hint)
		packets = true
	} else {
		addr, n, err = address.ParseS(b, hint)
	}
	if err != nil && !errors.Is(err, wire.ErrShort) {
		err = fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return addr, n, packets, err
}
