package shadowsocks

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"heki/adapter"
	"heki/inbound/internal/match"
	"heki/internal/protocol/shadowsocks"
)

// keys is what a password costs time to derive. It never changes, and lives on in the next set.
type keys struct {
	password string
	key      *shadowsocks.Key
	hot      atomic.Bool // for match.Recent
}

// Hot implements what match.Recent wants.
func (k *keys) Hot() *atomic.Bool { return &k.hot }

// entry is one user of a set.
type entry struct {
	*keys
	id   match.UserID
	user *adapter.User
}

// userIDOf names a user by what is no secret: passwords can be short, and the name is kept in a file.
func userIDOf(u *adapter.User) match.UserID {
	b := append([]byte("heki shadowsocks user "), u.Name...)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(u.ID)))
	return match.UserID(binary.LittleEndian.Uint64(sum[:]))
}

// set is all users of an AEAD inbound. It never changes.
type set struct {
	entries    []entry
	byID       map[match.UserID]int32
	byPassword map[string]int32
}

var errNoPassword = errors.New("has no password")

// newSet makes the set of users, with the keys of prev where the password is the same. The error names
// the user.
func newSet(prev *set, m shadowsocks.Method, users []*adapter.User) (*set, error) {
	s := &set{
		entries:    make([]entry, 0, len(users)),
		byID:       make(map[match.UserID]int32, len(users)),
		byPassword: make(map[string]int32, len(users)),
	}
	for i, u := range users {
		if u.Password == "" {
			return nil, fmt.Errorf("user %q: %w", u.Name, errNoPassword)
		}
		if first, dup := s.byPassword[u.Password]; dup {
			return nil, fmt.Errorf("users %q and %q have the same credential", s.entries[first].user.Name, u.Name)
		}
		e := entry{prev.keysOf(i, m, u.Password), userIDOf(u), u}
		s.byPassword[u.Password], s.byID[e.id] = int32(i), int32(i)
		s.entries = append(s.entries, e)
	}
	return s, nil
}

// keysOf finds the keys of a password again. Most users stand where they stood, at i.
func (s *set) keysOf(i int, m shadowsocks.Method, password string) *keys {
	if i < len(s.entries) && s.entries[i].password == password {
		return s.entries[i].keys
	}
	if at, ok := s.byPassword[password]; ok {
		return s.entries[at].keys
	}
	return &keys{password: password, key: shadowsocks.NewKey(m, password)}
}

// find returns the user with that id.
func (s *set) find(id match.UserID) (*entry, bool) {
	i, ok := s.byID[id]
	if !ok {
		return nil, false
	}
	return &s.entries[i], true
}

// current returns the user who has k now.
func (s *set) current(k *keys) (*entry, bool) {
	i, ok := s.byPassword[k.password]
	if !ok {
		return nil, false
	}
	return &s.entries[i], true
}
