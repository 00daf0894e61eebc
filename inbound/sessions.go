package inbound

import (
	"errors"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/constant"
	"heki/internal/netio"
)

const (
	// maxSessions bounds the sessions of one inbound, each of which costs a socket: the one whose client
	// was silent longest makes room.
	maxSessions = 32768
	// maxUserSessions bounds those of one user in the same way.
	maxUserSessions = 1024
	// sessionShards spread the table's locks.
	sessionShards = 64
	// refusedFor is how long a client over a limit is not asked about again.
	refusedFor = time.Second
	// maxRefused bounds such clients in each shard.
	maxRefused = 64
)

// Sealer makes datagrams for the client of one session.
type Sealer interface {
	// Seal turns b, a payload that came from source, into a datagram, in place. An error drops it. It
	// is called by one goroutine at a time.
	Seal(b *buf.Buffer, source M.Socksaddr) error
	// Headroom is the most that Seal puts before and behind a payload in bytes.
	Headroom() (front, rear int)
}

// Sessions are the open sessions of one inbound by the protocol's own key: whatever tells one client
// socket from another, and one user from another. S is what the protocol keeps of a session, with
// locks of its own where several loops need it. Its methods are safe for concurrent use.
type Sessions[K comparable, S Sealer] struct {
	packet      *Packet
	began       time.Time
	seed        maphash.Seed
	max, perMax int
	count       atomic.Int64
	shards      [sessionShards]sessionShard[K, S]
	sweeper     sweeper

	mu    sync.Mutex
	users map[string]map[*Session[K, S]]struct{} // by name
}

// sessionShard is a part of the table, in the order in which the clients were last heard.
type sessionShard[K comparable, S Sealer] struct {
	mu      sync.Mutex
	byKey   map[K]*Session[K, S] // nil before the first
	newest  *Session[K, S]       // the one that was heard last; nil without any
	oldest  *Session[K, S]
	refused map[K]int64 // until when a client that the router refused is not asked about again
}

// NewSessions returns an empty table that ends with p.
func NewSessions[K comparable, S Sealer](p *Packet) *Sessions[K, S] {
	t := &Sessions[K, S]{
		packet: p, began: time.Now(), seed: maphash.MakeSeed(), max: maxSessions, perMax: maxUserSessions,
		users: make(map[string]map[*Session[K, S]]struct{}),
	}
	t.sweeper.init(p.timeout, t.sweep)
	p.mu.Lock()
	p.tables = append(p.tables, t)
	p.mu.Unlock()
	return t
}

func (t *Sessions[K, S]) shard(key K) *sessionShard[K, S] {
	return &t.shards[maphash.Comparable(t.seed, key)%sessionShards]
}

// Get returns the session with that key, or nil.
func (t *Sessions[K, S]) Get(key K) *Session[K, S] {
	sh := t.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.byKey[key]
}

// Open returns the session with that key: the one there is, or a new one of user with state, which is
// routed to its first destination at once. Deliver gives it the payload. An error refuses the
// datagram: ErrRetired, or ErrRefused for a moment after the user was found over a limit.
func (t *Sessions[K, S]) Open(key K, user *adapter.User, state S, from Endpoint, first M.Socksaddr) (*Session[K, S], error) {
	if s := t.Get(key); s != nil {
		return s, nil
	}
	if from.retired {
		return nil, ErrRetired
	}
	if t.isRefused(key) {
		return nil, ErrRefused
	}
	if err := t.packet.begin(); err != nil {
		return nil, err
	}
	s := newSession(t, key, user, state, from)
	t.admit(s)
	if there := t.insert(s); there != nil {
		t.packet.wg.Done()
		s.end(nil)
		return there, nil
	}
	if t.packet.ctx.Err() != nil { // closed meanwhile, perhaps before it was in the table
		s.end(nil)
	}
	t.sweeper.start()
	go t.run(s, first)
	return s, nil
}

// insert returns the session that has the key already, or nil. One that has ended stays outside.
func (t *Sessions[K, S]) insert(s *Session[K, S]) *Session[K, S] {
	sh := t.shard(s.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if there := sh.byKey[s.key]; there != nil {
		return there
	}
	if !s.hasEnded() {
		if sh.byKey == nil {
			sh.byKey = make(map[K]*Session[K, S])
		}
		sh.byKey[s.key] = s
		s.listed = true
		sh.pushLocked(s)
	}
	return nil
}

// run routes one session.
func (t *Sessions[K, S]) run(s *Session[K, S], first M.Socksaddr) {
	p := t.packet
	defer p.wg.Done()
	defer s.end(nil)
	md := adapter.Metadata{
		ID:          p.ids.Add(1),
		Network:     constant.NetworkUDP,
		Inbound:     p.tag,
		Protocol:    p.protocol,
		Source:      s.from.Source,
		Local:       s.from.Local,
		User:        s.user,
		Destination: first,
		UDPTimeout:  -1, // the table looks after idle sessions
	}
	defer recovered(p.log, &md, s)
	err := p.router.RoutePacketConn(p.ctx, s, &md)
	p.debug(&md, err)
	if errors.Is(err, adapter.ErrLimited) && !errors.Is(err, adapter.ErrRemoved) {
		t.refuse(s.key)
	}
}

// refuse drops the datagrams of a key for a moment, so that a client over a limit costs and logs
// little. It forgets rather than grows.
func (t *Sessions[K, S]) refuse(key K) {
	sh := t.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.refused == nil || len(sh.refused) >= maxRefused {
		sh.refused = make(map[K]int64)
	}
	sh.refused[key] = t.now() + int64(refusedFor)
}

func (t *Sessions[K, S]) isRefused(key K) bool {
	sh := t.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	until, ok := sh.refused[key]
	if ok && t.now() >= until {
		delete(sh.refused, key)
		return false
	}
	return ok
}

// admit counts s, and ends the sessions for which it leaves no room.
func (t *Sessions[K, S]) admit(s *Session[K, S]) {
	name := ""
	if s.user != nil {
		name = s.user.Name
	}
	var victim *Session[K, S]
	t.mu.Lock()
	own := t.users[name]
	if own == nil {
		own = make(map[*Session[K, S]]struct{})
		t.users[name] = own
	}
	if len(own) >= t.perMax {
		for other := range own {
			if victim == nil || other.heard.Load() < victim.heard.Load() {
				victim = other
			}
		}
	}
	own[s] = struct{}{}
	t.mu.Unlock()
	if t.count.Add(1) > int64(t.max) && victim == nil {
		victim = t.oldest()
	}
	if victim != nil && victim != s {
		victim.end(errEvicted)
	}
}

// oldest returns the session whose client was silent longest.
func (t *Sessions[K, S]) oldest() *Session[K, S] {
	var oldest *Session[K, S]
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		if s := sh.oldest; s != nil && (oldest == nil || s.heard.Load() < oldest.heard.Load()) {
			oldest = s
		}
		sh.mu.Unlock()
	}
	return oldest
}

// forget takes an ended session out of the table.
func (t *Sessions[K, S]) forget(s *Session[K, S]) {
	sh := t.shard(s.key)
	sh.mu.Lock()
	if s.listed {
		s.listed = false
		delete(sh.byKey, s.key)
		sh.unlinkLocked(s)
	}
	sh.mu.Unlock()
	t.count.Add(-1)
	name := ""
	if s.user != nil {
		name = s.user.Name
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.users[name], s)
	if len(t.users[name]) == 0 {
		delete(t.users, name)
	}
}

func (sh *sessionShard[K, S]) pushLocked(s *Session[K, S]) {
	s.newer, s.older = nil, sh.newest
	if s.older != nil {
		s.older.newer = s
	} else {
		sh.oldest = s
	}
	sh.newest = s
}

func (sh *sessionShard[K, S]) unlinkLocked(s *Session[K, S]) {
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		sh.newest = s.older
	}
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		sh.oldest = s.newer
	}
	s.newer, s.older = nil, nil
}

// now is a clock for the order of sessions.
func (t *Sessions[K, S]) now() int64 { return int64(time.Since(t.began)) }

func (t *Sessions[K, S]) len() int { return int(t.count.Load()) }

func (t *Sessions[K, S]) each(f func(*Session[K, S])) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		for s := sh.newest; s != nil; s = s.older {
			f(s)
		}
		sh.mu.Unlock()
	}
}

func (t *Sessions[K, S]) peers(to map[netip.AddrPort]struct{}) {
	t.each(func(s *Session[K, S]) { to[s.endpoint().peer] = struct{}{} })
}

func (t *Sessions[K, S]) closeAll() {
	t.sweeper.stop()
	t.endAll(func(*Session[K, S]) bool { return true }, nil)
}

// sweep ends idle sessions and reports whether any are left.
func (t *Sessions[K, S]) sweep(step, idle time.Duration) bool {
	t.endAll(func(s *Session[K, S]) bool { return s.idle(step, idle) }, netio.ErrIdle)
	return t.len() > 0
}

// endAll ends the sessions for which pick is true.
func (t *Sessions[K, S]) endAll(pick func(*Session[K, S]) bool, cause error) {
	var ending []*Session[K, S]
	t.each(func(s *Session[K, S]) {
		if pick(s) {
			ending = append(ending, s)
		}
	})
	for _, s := range ending {
		s.end(cause)
	}
}
