package shadowsocks

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"heki/adapter"
	"heki/inbound"
	"heki/internal/netio"
	"heki/internal/protocol/ss2022"
	"heki/option"
)

// modern is a server of Shadowsocks 2022. Clients name themselves with an identity header, unless the
// only user's key is the server's.
type modern struct {
	base
	method     ss2022.Method
	serverKey  []byte
	whole      bool // requests come in one piece: nothing is between TCP and them
	users      atomic.Pointer[modernSet]
	headers    sync.Pool                                    // of *ss2022.Packet
	sessions   *inbound.Sessions[modernKey, *modernSession] // nil without UDP
	clockNoted atomic.Int64                                 // when a wrong clock was last logged, unix seconds
}

// modernSet is all users. It never changes.
type modernSet struct {
	identity bool // clients name themselves
	packets  *ss2022.PacketKey
	byHash   map[ss2022.Hash]*modernUser // under the zero hash without identity
}

type modernUser struct {
	user *adapter.User
	key  []byte
}

var errOneUser = errors.New("clients of this method cannot name themselves: one user at most")

func newModern(b base, tag string, o *option.Shadowsocks, m ss2022.Method) (*modern, error) {
	key, err := ss2022.ParseKey(m, o.Password)
	if err != nil {
		return nil, fmt.Errorf("password %w", err)
	}
	in := &modern{base: b, method: m, serverKey: key}
	in.whole = o.Obfs == nil && o.Transport == nil && (o.TLS == nil || !o.TLS.Enabled)
	in.headers.New = func() any { return new(ss2022.Packet) }
	in.users.Store(in.newSet(nil))
	if err := in.listen(tag, o, in); err != nil {
		return nil, err
	}
	if p := in.Packets(); p != nil {
		in.sessions = inbound.NewSessions[modernKey, *modernSession](p)
	}
	return in, nil
}

// newSet makes a set of users by their hashes.
func (in *modern) newSet(byHash map[ss2022.Hash]*modernUser) *modernSet {
	s := &modernSet{identity: in.method.MultiUser(), byHash: byHash}
	if len(byHash) == 1 {
		for _, u := range byHash {
			if bytes.Equal(u.key, in.serverKey) || !s.identity {
				s.identity = false
				s.byHash = map[ss2022.Hash]*modernUser{{}: u}
			}
		}
	}
	s.packets = ss2022.NewPacketKey(in.method, in.serverKey, s.identity)
	return s
}

// SwapUsers implements adapter.UserManager.
func (in *modern) SwapUsers(users []*adapter.User) error {
	byHash := make(map[ss2022.Hash]*modernUser, len(users))
	for _, u := range users {
		key, err := ss2022.ParseKey(in.method, u.Password)
		if err != nil {
			return fmt.Errorf("user %q: password %w", u.Name, err)
		}
		hash := ss2022.HashOf(key)
		if first, dup := byHash[hash]; dup {
			return fmt.Errorf("users %q and %q have the same credential", first.user.Name, u.Name)
		}
		byHash[hash] = &modernUser{u, key}
	}
	switch {
	case len(byHash) > 1 && !in.method.MultiUser():
		return fmt.Errorf("%d users: %w", len(byHash), errOneUser)
	case len(byHash) == 1 && !in.method.MultiUser():
		for _, u := range byHash {
			if !bytes.Equal(u.key, in.serverKey) {
				return fmt.Errorf("user %q has another key than the server: %w", u.user.Name, errOneUser)
			}
		}
	}
	in.users.Store(in.newSet(byHash))
	return nil
}

// request is an authenticated request.
type request struct {
	*ss2022.Request
	who *modernUser
}

// ServeStream implements inbound.Handler.
func (in *modern) ServeStream(ctx context.Context, conn *netio.Conn, md *adapter.Metadata) error {
	if in.streams.Banned(md.Source.Addr(), in.env.Time()) {
		return errBanned
	}
	req, err := inbound.ReadPart(conn, func(b []byte) (request, int, error) { return in.authenticate(b, md) }, ss2022.ErrShort)
	if err != nil {
		return err
	}
	salt := make([]byte, in.method.KeySize())
	_, _ = rand.Read(salt) // never fails
	c := ss2022.NewServerConn(conn, in.method, req.who.key, req.Request, salt, in.unix, netio.Pool{})
	defer c.Drop()
	dst, err := ss2022.ReadVariable(c)
	if err != nil {
		return inbound.Silence(conn, err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	md.User, md.Destination = req.who.user, dst
	stream := netio.NewConn(c) // looks ahead in what was decrypted
	defer stream.Drop()
	return in.dispatcher.Stream(ctx, stream, md)
}

// unix is the corrected clock.
func (in *modern) unix() int64 { return in.env.Time().Unix() }

// authenticate opens the request with which b begins. SIP022 wants it in one read: whoever sends it
// byte by byte wants to see where we stop reading.
func (in *modern) authenticate(b []byte, md *adapter.Metadata) (request, int, error) {
	users := in.users.Load()
	if len(b) < in.method.RequestSize(users.identity) {
		if in.whole {
			return request{}, 0, errSplit
		}
		return request{}, 0, ss2022.ErrShort
	}
	var hash ss2022.Hash
	if users.identity {
		hash = ss2022.Identify(in.method, in.serverKey, b)
	}
	who, ok := users.byHash[hash]
	if !ok {
		in.failed(in.streams, md.Source.Addr(), in.env.Time())
		return request{}, 0, inbound.ErrUnknownUser
	}
	req, n, err := ss2022.OpenRequest(in.method, who.key, b, users.identity)
	if err != nil {
		in.failed(in.streams, md.Source.Addr(), in.env.Time())
		return request{}, 0, err
	}
	now := in.env.Time()
	if !ss2022.Fresh(req.Unix, now.Unix()) {
		in.noteClock(who.user, req.Unix-now.Unix(), now, md)
		return request{}, 0, fmt.Errorf("%w by %d s", errClock, req.Unix-now.Unix())
	}
	if !in.memory.fresh.First(now, b[:in.method.KeySize()]) {
		return request{}, 0, errReplay
	}
	return request{req, who}, n, nil
}

// clockPause is how often a wrong clock is logged: whoever recorded a request can show an old one.
const clockPause = 10 * time.Second

func (in *modern) noteClock(u *adapter.User, skew int64, now time.Time, md *adapter.Metadata) {
	last := in.clockNoted.Load()
	if now.Unix()-last < int64(clockPause/time.Second) || !in.clockNoted.CompareAndSwap(last, now.Unix()) {
		return
	}
	in.log.Info("the client's clock is off by more than 30 seconds, or its request is an old one; set the device's clock",
		"user", u.Name, "ahead", (time.Duration(skew) * time.Second).String(), "from", md.Source.String())
}

var (
	_ adapter.Inbound     = (*modern)(nil)
	_ adapter.UserManager = (*modern)(nil)
	_ inbound.PairHandler = (*modern)(nil)
)
