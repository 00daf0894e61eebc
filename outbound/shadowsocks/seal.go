package shadowsocks

import (
	"crypto/cipher"
	"crypto/rand"
	mathrand "math/rand/v2"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/shadowsocks"
	"heki/internal/protocol/ss2022"
)

// tagSize is what follows a datagram's plain text, with every method.
const tagSize = shadowsocks.TagSize

// classic is the AEAD ciphers'. Each datagram has a key of its own.
type classic struct {
	key     *shadowsocks.Key
	in, out *shadowsocks.Trial
	salt    []byte
	host    string // the last host read: the next is most often the same
}

func newClassic(m shadowsocks.Method, key *shadowsocks.Key) *classic {
	return &classic{key: key, in: shadowsocks.NewTrial(m), out: shadowsocks.NewTrial(m), salt: make([]byte, m.KeySize())}
}

func (c *classic) seal(b *buf.Buffer, dst M.Socksaddr) *buf.Buffer {
	_, _ = rand.Read(c.salt) // never fails
	return c.out.SealPacket(b, c.key, dst, c.salt)
}

func (c *classic) open(b *buf.Buffer) (M.Socksaddr, bool) {
	plain, err := c.in.OpenPacket(b.Bytes(), c.key)
	if err != nil {
		return M.Socksaddr{}, false
	}
	from, n, err := shadowsocks.ParsePacket(plain, c.host)
	if err != nil {
		return M.Socksaddr{}, false
	}
	if from.Fqdn != "" {
		c.host = from.Fqdn
	}
	window(b, plain, n)
	return from, true
}

// modern is Shadowsocks 2022's.
type modern struct {
	chain   *ss2022.Chain
	session uint64
	unix    func() int64
	out     *ss2022.Sealer
	key     *ss2022.PacketKey
	in      ss2022.Packet
	host    string // the last host read: the next is most often the same

	// The server's sessions: it begins a new one when it is restarted, and datagrams of the one before may
	// still come. Source: SIP022 §3.2.5.
	now, before *serverSession
}

// serverSession is what was seen of one session of the server.
type serverSession struct {
	id   uint64
	aead cipher.AEAD
	seen ss2022.ReplayWindow
}

func newModern(c *ss2022.Chain, session uint64, unix func() int64) *modern {
	return &modern{
		chain: c, session: session, unix: unix,
		out: ss2022.NewClientSealer(c, session, rand.Reader), key: c.PacketKey(),
	}
}

// dnsPort is where the lengths of packets tell what was asked: those are padded.
const dnsPort = 53

func (m *modern) seal(b *buf.Buffer, dst M.Socksaddr) *buf.Buffer {
	padding := 0
	if n := b.Len(); dst.Port == dnsPort && n < ss2022.MaxPadding {
		padding = 1 + mathrand.IntN(ss2022.MaxPadding-n)
	}
	return m.out.Seal(b, dst, m.unix(), padding)
}

func (m *modern) open(b *buf.Buffer) (M.Socksaddr, bool) {
	if m.in.OpenHeader(m.key, b.Bytes()) != nil {
		return M.Socksaddr{}, false
	}
	s := m.server(m.in.Session)
	if s.seen.Has(m.in.ID) {
		return M.Socksaddr{}, false
	}
	plain, err := m.in.Open(s.aead)
	if err != nil {
		return M.Socksaddr{}, false
	}
	body, n, err := ss2022.ParseBody(plain, true, m.host)
	if err != nil || body.Session != m.session || !ss2022.Fresh(body.Unix, m.unix()) || !s.seen.Add(m.in.ID) {
		return M.Socksaddr{}, false
	}
	if s != m.now && s != m.before {
		m.now, m.before = s, m.now
	}
	if body.Address.Fqdn != "" {
		m.host = body.Address.Fqdn
	}
	window(b, plain, n)
	return body.Address, true
}

// server returns a session of the server, which is a new one until something of it opens.
func (m *modern) server(id uint64) *serverSession {
	for _, s := range []*serverSession{m.now, m.before} {
		if s != nil && s.id == id {
			return s
		}
	}
	return &serverSession{id: id, aead: m.chain.SessionCipher(m.key, id)}
}
