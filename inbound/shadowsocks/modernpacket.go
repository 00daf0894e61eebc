package shadowsocks

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	mrand "math/rand/v2"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/inbound"
	"heki/internal/netio"
	"heki/internal/protocol/address"
	"heki/internal/protocol/ss2022"
)

// modernKey is one client socket: the session that it chose, and whose it is. A session that another
// user chose too is another one.
type modernKey struct {
	hash    ss2022.Hash
	session uint64
}

// modernSession is what the chassis keeps of it.
type modernSession struct {
	in     *modern
	key    []byte // of the user
	open   cipher.AEAD
	window ss2022.ReplayWindow
	host   host
	seal   *ss2022.Sealer
}

// Seal implements inbound.Sealer.
func (s *modernSession) Seal(b *buf.Buffer, source M.Socksaddr) error {
	if address.Size(source) > address.MaxP {
		return errAddress
	}
	padding := 0
	if source.Port == dnsPort && b.Len() < ss2022.MaxPadding {
		padding = mrand.IntN(1 + min(ss2022.MaxPadding-b.Len(), b.Start()-ss2022.PacketFront))
	}
	if s.seal.Seal(b, source, s.in.unix(), padding) != b {
		panic("shadowsocks: an answer without Headroom")
	}
	return nil
}

// dnsPort is where datagrams are padded: DNS questions and answers are told by their lengths.
const dnsPort = 53

// Headroom implements inbound.Sealer.
func (s *modernSession) Headroom() (front, rear int) { return ss2022.PacketFront, ss2022.PacketRear }

// ServePacket implements inbound.PacketHandler.
func (in *modern) ServePacket(b *buf.Buffer, from inbound.Endpoint) error {
	p, _ := in.headers.Get().(*ss2022.Packet)
	defer in.headers.Put(p)
	err := in.servePacket(p, b, from)
	if err != nil {
		netio.Put(b)
	}
	return err
}

// servePacket owns b unless it fails.
func (in *modern) servePacket(p *ss2022.Packet, b *buf.Buffer, from inbound.Endpoint) error {
	users := in.users.Load()
	if err := p.OpenHeader(users.packets, b.Bytes()); err != nil {
		return err
	}
	key := modernKey{session: p.Session}
	if users.identity {
		key.hash = p.Hash
	}
	s := in.sessions.Get(key)
	if s != nil {
		return in.next(s, s.State(), p, b, from)
	}
	if from.Retired() {
		return inbound.ErrRetired
	}
	now := in.env.Time()
	if in.packets.Banned(from.Source.Addr(), now) {
		return errBanned
	}
	who, ok := users.byHash[key.hash]
	if !ok {
		in.failed(in.packets, from.Source.Addr(), now)
		return inbound.ErrUnknownUser
	}
	st := &modernSession{in: in, key: who.key, open: users.packets.SessionCipher(who.key, p.Session)}
	dst, n, err := in.authenticatePacket(st, p, b)
	if err != nil {
		in.failed(in.packets, from.Source.Addr(), now)
		return err
	}
	st.seal = ss2022.NewSealer(in.method, who.key, otherThan(p.Session), p.Session, rand.Reader)
	if s, err = in.sessions.Open(key, who.user, st, from, dst); err != nil {
		return err
	}
	b.Advance(n)
	s.Deliver(b, dst, from)
	return nil
}

// next is servePacket for a session that there is.
func (in *modern) next(s *inbound.Session[modernKey, *modernSession], st *modernSession, p *ss2022.Packet, b *buf.Buffer, from inbound.Endpoint) error {
	dst, n, err := in.authenticatePacket(st, p, b)
	if err != nil {
		return err
	}
	b.Advance(n)
	s.Deliver(b, dst, from)
	return nil
}

// authenticatePacket opens b in place and returns where it goes and how many bytes come before the
// payload. Those behind it are cut off.
func (in *modern) authenticatePacket(st *modernSession, p *ss2022.Packet, b *buf.Buffer) (M.Socksaddr, int, error) {
	if st.window.Has(p.ID) {
		return M.Socksaddr{}, 0, errReplay
	}
	plain, err := p.Open(st.open)
	if err != nil {
		return M.Socksaddr{}, 0, err
	}
	body, n, err := ss2022.ParseBody(plain, false, st.host.hint())
	switch {
	case err != nil:
		return M.Socksaddr{}, 0, err
	case !ss2022.Fresh(body.Unix, in.unix()):
		return M.Socksaddr{}, 0, errClock
	// The window goes with the session, which may end before the datagram gets too old.
	case !st.window.Add(p.ID), !in.memory.packets().First(b.To(headerBytes)):
		return M.Socksaddr{}, 0, errReplay
	}
	st.host.note(body.Address)
	front := b.Len() - ss2022.PacketRear - len(plain)
	b.Truncate(front + len(plain))
	return body.Address, front + n, nil
}

// headerBytes are the bytes of a datagram that are never the same twice: the sealed header, or most of
// the nonce.
const headerBytes = 16

// otherThan returns a random session.
func otherThan(session uint64) uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		if id := binary.BigEndian.Uint64(b[:]); id != session {
			return id
		}
	}
}
