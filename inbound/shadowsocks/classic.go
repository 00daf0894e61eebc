package shadowsocks

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/inbound"
	"heki/inbound/internal/match"
	"heki/internal/netio"
	"heki/internal/protocol/address"
	"heki/internal/protocol/shadowsocks"
	"heki/internal/protocol/wire"
	"heki/option"
)

// classic is a server of the AEAD ciphers. Its users are told apart by trying their keys.
type classic struct {
	base
	method   shadowsocks.Method
	users    atomic.Pointer[set]
	recent   match.Recent[keys, *keys]
	trials   sync.Pool                                          // of *shadowsocks.Trial
	sessions *inbound.Sessions[netip.AddrPort, *classicSession] // nil without UDP
	searches searches
}

func newClassic(b base, tag string, o *option.Shadowsocks, m shadowsocks.Method) (*classic, error) {
	in := &classic{base: b, method: m}
	in.trials.New = func() any { return shadowsocks.NewTrial(m) }
	in.users.Store(new(set))
	in.searches.init()
	if err := in.listen(tag, o, in); err != nil {
		return nil, err
	}
	if p := in.Packets(); p != nil {
		in.sessions = inbound.NewSessions[netip.AddrPort, *classicSession](p)
	}
	return in, nil
}

// SwapUsers implements adapter.UserManager.
func (in *classic) SwapUsers(users []*adapter.User) error {
	next, err := newSet(in.users.Load(), in.method, users)
	if err != nil {
		return err
	}
	in.users.Store(next)
	return nil
}

// Close implements adapter.Inbound.
func (in *classic) Close() error {
	in.searches.close()
	return in.base.Close()
}

func (in *classic) trial() *shadowsocks.Trial {
	t, _ := in.trials.Get().(*shadowsocks.Trial)
	return t
}

// found is whose key it was, and what came of it.
type found struct {
	who   *entry
	aead  cipher.AEAD // of a stream
	plain []byte      // of a datagram
}

// session is one client socket in the chassis.
type session = inbound.Session[netip.AddrPort, *classicSession]

// tries is one search: what is tried and by whom.
type tries struct {
	in    *classic
	trial *shadowsocks.Trial
	users *set
	from  netip.Addr

	patience time.Duration // for a turn
}

func (t *tries) try(e *entry) (found, bool) {
	aead, plain, ok := t.trial.Try(e.key)
	return found{e, aead, plain}, ok
}

// cached tries those last seen from the client's address.
func (t *tries) cached() (found, bool) {
	var names [match.SourceUsers]match.UserID
	n := t.in.memory.Sources.Lookup(t.from, t.in.env.Time(), &names)
	for _, name := range names[:n] {
		if e, ok := t.users.find(name); ok {
			if f, ok := t.try(e); ok {
				return f, true
			}
		}
	}
	return found{}, false
}

// lately tries those who authenticated lately; those who are not in users any more count for nothing.
func (t *tries) lately() (found, bool) {
	for i := range match.RecentSize {
		k := t.in.recent.At(i)
		if k == nil {
			break
		}
		e, ok := t.users.current(k)
		if !ok {
			continue
		}
		if f, ok := t.try(e); ok {
			return f, true
		}
	}
	return found{}, false
}

// smallScan is how many users are tried at once: 10 µs, what the datagram or connection costs anyway.
const smallScan = 16

// search tries everybody in the order of how likely they are. Beyond a few it is for turns: those who
// are nobody, each of whom costs a whole search, leave cores to those who are somebody.
func (t *tries) search(ctx context.Context) (found, error) {
	f, ok := t.cached()
	if !ok && len(t.users.entries) > smallScan {
		if err := t.in.memory.turns.Take(ctx, t.from, t.patience); err != nil {
			return f, err
		}
		defer t.in.memory.turns.Done()
		// Another search may have found who it is while this one waited.
		if f, ok = t.cached(); !ok && len(t.users.entries) > 2*match.RecentSize {
			f, ok = t.lately()
		}
	}
	for i := 0; !ok && i < len(t.users.entries); i++ {
		f, ok = t.try(&t.users.entries[i])
	}
	if !ok {
		return f, inbound.ErrUnknownUser
	}
	return f, nil
}

// remember notes who came from where.
func (t *tries) remember(f found) {
	t.in.memory.Sources.Note(t.from, f.who.id, t.in.env.Time())
	t.in.recent.Note(f.who.keys)
}

// ServeStream implements inbound.Handler.
func (in *classic) ServeStream(ctx context.Context, conn *netio.Conn, md *adapter.Metadata) error {
	if in.streams.Banned(md.Source.Addr(), in.env.Time()) {
		return errBanned
	}
	f, err := inbound.ReadPart(conn, func(b []byte) (found, int, error) { return in.identify(ctx, b, md) }, wire.ErrShort)
	if err != nil {
		return err
	}
	salt := make([]byte, in.method.KeySize())
	_, _ = rand.Read(salt)                     // never fails
	in.memory.salts.First(in.env.Time(), salt) // what is ours is no request
	c := shadowsocks.NewServerConn(conn, in.method, f.who.key, f.aead, salt, netio.Pool{})
	defer c.Drop()
	stream := netio.NewConn(c) // looks ahead in what was decrypted
	defer stream.Drop()
	dst, err := inbound.ReadHeader(stream, parseAddress, wire.ErrShort)
	if err != nil {
		return inbound.Silence(conn, err)
	}
	md.User, md.Destination = f.who.user, dst
	return in.dispatcher.Stream(ctx, stream, md)
}

func parseAddress(b []byte) (M.Socksaddr, int, error) { return address.ParseS(b, "") }

// identify finds whose stream begins with b. It consumes the salt.
func (in *classic) identify(ctx context.Context, b []byte, md *adapter.Metadata) (found, int, error) {
	if len(b) < in.method.StreamHead() {
		return found{}, 0, wire.ErrShort
	}
	t := tries{in: in, trial: in.trial(), users: in.users.Load(), from: md.Source.Addr(), patience: in.patience}
	defer in.trials.Put(t.trial)
	t.trial.BeginStream(b)
	f, err := t.search(ctx)
	if err != nil {
		if errors.Is(err, inbound.ErrUnknownUser) {
			in.failed(in.streams, t.from, in.env.Time())
		}
		return f, 0, err
	}
	n := in.method.KeySize()
	if !in.memory.salts.First(in.env.Time(), b[:n]) {
		return f, 0, errReplay
	}
	t.remember(f)
	return f, n, nil
}

var (
	_ adapter.Inbound     = (*classic)(nil)
	_ adapter.UserManager = (*classic)(nil)
	_ inbound.PairHandler = (*classic)(nil)
)
