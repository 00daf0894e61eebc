package shadowsocksr

import (
	"crypto/rand"
	"errors"
	"net/netip"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/inbound"
	"heki/internal/netio"
	"heki/internal/protocol/ssr"
	"heki/internal/protocol/ssr/protocol"
	"heki/option"
)

// errUnnamed says that a datagram names no user on a port where it would have to.
var errUnnamed = errors.New("the datagram names no user")

// sessionKey tells client sockets apart, and users behind one.
type sessionKey struct {
	source netip.AddrPort
	id     int64
}

// session is how answers to one client socket are made.
type session struct {
	codec *ssr.Port
	key   []byte
}

// Seal implements inbound.Sealer.
func (s *session) Seal(b *buf.Buffer, source M.Socksaddr) error {
	return s.codec.SealDatagram(b, source, s.key, rand.Reader)
}

// Headroom implements inbound.Sealer.
func (s *session) Headroom() (front, rear int) { return s.codec.Headroom() }

// ServePacket implements inbound.PacketHandler. Datagrams say nothing of hosts, times or numbers: there
// is no replay protection in them.
func (p *port) ServePacket(b *buf.Buffer, from inbound.Endpoint) error {
	users := p.users.Load()
	if users.who == nil {
		netio.Put(b)
		return inbound.ErrUnknownUser
	}
	dst, uid, err := p.codec.OpenDatagram(b, users.who)
	if err != nil {
		netio.Put(b)
		return err
	}
	user, key, err := p.owner(users, uid)
	if err != nil {
		netio.Put(b)
		return err
	}
	at := sessionKey{from.Source, user.ID}
	s := p.sessions.Get(at)
	if s == nil {
		if s, err = p.sessions.Open(at, user, &session{p.codec, key}, from, dst); err != nil {
			netio.Put(b)
			return err
		}
	}
	s.Deliver(b, dst, from)
	return nil
}

// nobody is whom datagrams belong to that name no user and are relayed all the same.
var nobody = &adapter.User{Account: adapter.Account{Name: "unattributed"}}

// owner is whose datagram it is, and the key of the answers.
func (p *port) owner(users *set, uid uint32) (*adapter.User, []byte, error) {
	if p.at.Mode == option.SSRSingleUser {
		if users.single == nil {
			return nil, nil, protocol.ErrUser
		}
		return users.single.user, users.single.key, nil
	}
	if p.codec.KnowsUsers() {
		e := users.byID[uid]
		if e == nil {
			return nil, nil, protocol.ErrUser
		}
		return e.user, e.key, nil
	}
	if !p.in.o.ObfsUDP {
		return nil, nil, errUnnamed
	}
	return nobody, nil, nil
}
