package shadowsocks

import (
	"context"
	"crypto/rand"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/inbound"
	"heki/internal/netio"
	"heki/internal/protocol/address"
	"heki/internal/protocol/shadowsocks"
)

// Errors of datagrams.
var (
	errBusy    = errors.New("too many datagrams wait to be looked up")
	errAddress = errors.New("the source of an answer does not fit into a datagram")
)

// classicSession is one client socket: what the chassis keeps of it.
type classicSession struct {
	in   *classic
	who  *keys
	host host
	salt [shadowsocks.MaxKeySize]byte // scratch of Seal
}

// Seal implements inbound.Sealer.
func (s *classicSession) Seal(b *buf.Buffer, source M.Socksaddr) error {
	if address.Size(source) > address.MaxP {
		return errAddress
	}
	salt := s.salt[:s.in.method.KeySize()]
	_, _ = rand.Read(salt)            // never fails
	s.in.memory.packets().First(salt) // what is ours is no request
	t := s.in.trial()
	defer s.in.trials.Put(t)
	if t.SealPacket(b, s.who.key, source, salt) != b {
		panic("shadowsocks: an answer without Headroom")
	}
	return nil
}

// Headroom implements inbound.Sealer.
func (s *classicSession) Headroom() (front, rear int) {
	return shadowsocks.PacketFront, shadowsocks.PacketRear
}

// host remembers the last host name of a session, so that the next one, most often the same, is not
// allocated again.
type host struct{ last atomic.Pointer[string] }

func (h *host) hint() string {
	if name := h.last.Load(); name != nil {
		return *name
	}
	return ""
}

func (h *host) note(dst M.Socksaddr) {
	if name := dst.Fqdn; name != "" && name != h.hint() {
		h.last.Store(&name)
	}
}

// ServePacket implements inbound.PacketHandler. A session remembers its user: only its first datagram
// is searched for, on another goroutine unless its address is known.
func (in *classic) ServePacket(b *buf.Buffer, from inbound.Endpoint) error {
	s := in.sessions.Get(from.Source)
	if s == nil && from.Retired() {
		netio.Put(b)
		return inbound.ErrRetired
	}
	t := in.trial()
	defer in.trials.Put(t)
	if s != nil {
		if !t.BeginPacketInPlace(b.Bytes()) {
			netio.Put(b)
			return shadowsocks.ErrPacket
		}
		if _, plain, ok := t.Try(s.State().who.key); ok {
			return in.deliver(s, b, plain, from)
		}
	}
	if in.packets.Banned(from.Source.Addr(), in.env.Time()) {
		netio.Put(b)
		return errBanned
	}
	if len(in.users.Load().entries) <= smallScan {
		return in.lookup(context.Background(), t, b, from, (*tries).search)
	}
	err := in.lookup(context.Background(), t, b, from, func(t *tries, _ context.Context) (found, error) {
		if f, ok := t.cached(); ok {
			return f, nil
		}
		return found{}, errBusy
	})
	if !errors.Is(err, errBusy) {
		return err
	}
	if !in.searches.start(func(ctx context.Context) { in.searchLater(ctx, b, from) }) {
		netio.Put(b)
		return errBusy
	}
	return nil
}

// packetPatience is how long a datagram waits for its turn: by then a client asks again.
const packetPatience = 2 * time.Second

// searchLater is ServePacket for a client of whom nothing is known.
func (in *classic) searchLater(ctx context.Context, b *buf.Buffer, from inbound.Endpoint) {
	t := in.trial()
	defer in.trials.Put(t)
	if err := in.lookup(ctx, t, b, from, (*tries).search); err != nil {
		in.log.Debug("datagram dropped", "from", from.Source.String(), "err", err)
	}
}

// lookup finds whose datagram b is and opens a session. It owns b, unless the error is errBusy.
func (in *classic) lookup(ctx context.Context, t *shadowsocks.Trial, b *buf.Buffer, from inbound.Endpoint, search func(*tries, context.Context) (found, error)) error {
	out := netio.Pool{}.Get(b.Len())
	defer func() { netio.Put(out) }()
	if !t.BeginPacket(b.Bytes(), out.FreeBytes()) {
		netio.Put(b)
		return shadowsocks.ErrPacket
	}
	try := tries{in: in, trial: t, users: in.users.Load(), from: from.Source.Addr(), patience: packetPatience}
	f, err := search(&try, ctx)
	if errors.Is(err, errBusy) {
		return err
	}
	defer netio.Put(b)
	if err != nil {
		if errors.Is(err, inbound.ErrUnknownUser) {
			in.failed(in.packets, try.from, in.env.Time())
		}
		return err
	}
	if !in.memory.packets().First(b.Bytes()[:in.method.KeySize()]) {
		return errReplay
	}
	dst, n, err := shadowsocks.ParsePacket(f.plain, "")
	if err != nil {
		return err
	}
	try.remember(f)
	s, err := in.open(f, from, dst)
	if err != nil {
		return err
	}
	s.State().host.note(dst)
	out.Truncate(len(f.plain))
	netio.Filled(out).Advance(n)
	payload := out
	out = nil
	s.Deliver(payload, dst, from)
	return nil
}

// open returns the session of a client socket, which ends when the socket has another user now.
func (in *classic) open(f found, from inbound.Endpoint, dst M.Socksaddr) (*session, error) {
	for {
		s, err := in.sessions.Open(from.Source, f.who.user, &classicSession{in: in, who: f.who.keys}, from, dst)
		if err != nil || s.State().who == f.who.keys {
			return s, err
		}
		s.End()
	}
}

// deliver passes on b, which it owns and in which plain is what was sealed.
func (in *classic) deliver(s *session, b *buf.Buffer, plain []byte, from inbound.Endpoint) error {
	size := in.method.KeySize()
	st := s.State()
	dst, n, err := shadowsocks.ParsePacket(plain, st.host.hint())
	if err == nil && !in.memory.packets().First(b.Bytes()[:size]) {
		err = errReplay
	}
	if err != nil {
		netio.Put(b)
		return err
	}
	st.host.note(dst)
	b.Truncate(size + len(plain))
	b.Advance(size + n)
	s.Deliver(b, dst, from)
	return nil
}
