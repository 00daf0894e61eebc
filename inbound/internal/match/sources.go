// Package match is what inbounds share that find out by trial whose key a client has: who came from an
// address last, who came lately, whose turn it is to search, what was seen before, and who failed too
// often.
package match

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

const (
	// SourceUsers is how many users are remembered of one address: homes have a few, carriers that put
	// many behind one address many.
	SourceUsers = 8
	// sourceExpiry is how long an address is remembered after its last request.
	sourceExpiry = 24 * time.Hour
	// sourceLimit bounds the addresses in each half: 9 MiB.
	sourceLimit = 1 << 16
)

// Sources remembers which users came from which address last, so that they are tried first when they
// come again. That decides nothing: whoever comes has to authenticate. IPv6 addresses count by their
// /64. It holds no credentials.
type Sources struct {
	mark  string
	limit int

	mu       sync.Mutex
	now, old map[sourceKey]source
}

// UserID names a user across sets and restarts without being a credential.
type UserID uint64

type sourceKey [16]byte

// source is the users of an address, the last one first.
type source struct {
	users [SourceUsers]UserID
	n     uint8
	seen  uint32 // unix seconds
}

// NewSources returns an empty memory. mark begins its files: one line that names the protocol.
func NewSources(mark string) *Sources {
	return &Sources{mark: mark, limit: sourceLimit, now: make(map[sourceKey]source)}
}

func keyOf(addr netip.Addr) sourceKey {
	key := sourceKey(addr.As16())
	if addr.Is6() && !addr.Is4In6() {
		clear(key[8:])
	}
	return key
}

// Lookup writes the users of addr to users, the last one first, and returns how many there are.
func (s *Sources) Lookup(addr netip.Addr, now time.Time, users *[SourceUsers]UserID) int {
	if !addr.IsValid() {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.getLocked(keyOf(addr))
	if !ok || now.Unix()-int64(known.seen) > int64(sourceExpiry/time.Second) {
		return 0
	}
	*users = known.users
	return int(known.n)
}

func (s *Sources) getLocked(key sourceKey) (source, bool) {
	if known, ok := s.now[key]; ok {
		return known, true
	}
	known, ok := s.old[key]
	return known, ok
}

// Note puts user first among those of addr.
func (s *Sources) Note(addr netip.Addr, user UserID, now time.Time) {
	if !addr.IsValid() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := keyOf(addr)
	known, _ := s.getLocked(key)
	at := 0
	for at < int(known.n) && known.users[at] != user {
		at++
	}
	if at == int(known.n) {
		if known.n < SourceUsers {
			known.n++
		}
		at = int(known.n) - 1
	}
	copy(known.users[1:at+1], known.users[:at])
	known.users[0], known.seen = user, uint32(now.Unix())
	s.putLocked(key, known)
}

// putLocked begins a new half when this one is full: what nobody used since the last time is
// forgotten.
func (s *Sources) putLocked(key sourceKey, known source) {
	if _, there := s.now[key]; !there && len(s.now) >= s.limit {
		s.old, s.now = s.now, make(map[sourceKey]source)
	}
	s.now[key] = known
}

// sourceFront is what an entry of Export has before its users in bytes: key, seconds, number of users.
const sourceFront = 16 + 4 + 1

var errSources = errors.New("not a file of known sources")

// Export returns what is remembered, for a file. It tells which user came from which address: keep it
// from others.
func (s *Sources) Export() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := []byte(s.mark)
	for key, known := range s.old {
		if _, newer := s.now[key]; !newer {
			b = appendSource(b, key, known)
		}
	}
	for key, known := range s.now {
		b = appendSource(b, key, known)
	}
	return b
}

func appendSource(b []byte, key sourceKey, known source) []byte {
	b = append(b, key[:]...)
	b = binary.BigEndian.AppendUint32(b, known.seen)
	b = append(b, known.n)
	for _, user := range known.users[:known.n] {
		b = binary.BigEndian.AppendUint64(b, uint64(user))
	}
	return b
}

// Import adds what Export returned, less what has expired. On error nothing is added.
func (s *Sources) Import(b []byte, now time.Time) error {
	if len(b) < len(s.mark) || string(b[:len(s.mark)]) != s.mark {
		return errSources
	}
	b = b[len(s.mark):]
	read := make(map[sourceKey]source)
	for len(b) > 0 {
		key, known, n, err := parseSource(b)
		if err != nil {
			return err
		}
		b = b[n:]
		if age := now.Unix() - int64(known.seen); age >= 0 && age <= int64(sourceExpiry/time.Second) && len(read) < s.limit {
			read[key] = known
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, known := range read {
		if _, there := s.getLocked(key); !there {
			s.putLocked(key, known)
		}
	}
	return nil
}

// parseSource decodes the entry at the start of b and returns its length.
func parseSource(b []byte) (key sourceKey, known source, n int, err error) {
	if len(b) < sourceFront {
		return key, known, 0, fmt.Errorf("%w: cut short", errSources)
	}
	key = sourceKey(b[:16])
	known.seen = binary.BigEndian.Uint32(b[16:])
	known.n = b[20]
	n = sourceFront + 8*int(known.n)
	if known.n > SourceUsers || known.n == 0 || len(b) < n {
		return key, known, 0, fmt.Errorf("%w: %d users of one address in %d bytes", errSources, known.n, len(b))
	}
	for i := range int(known.n) {
		known.users[i] = UserID(binary.BigEndian.Uint64(b[sourceFront+8*i:]))
	}
	return key, known, n, nil
}
