package vmess

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"heki/adapter"
	"heki/inbound/internal/match"
	"heki/internal/protocol/vmess"
)

// keys is what a uuid costs time to derive. It never changes, and lives on in the next set.
type keys struct {
	uuid   vmess.UUID
	id     match.UserID
	cmdKey [16]byte
	block  cipher.Block // of auth ids
	hot    atomic.Bool  // for match.Recent
}

// Hot implements what match.Recent wants.
func (k *keys) Hot() *atomic.Bool { return &k.hot }

func userIDOf(uuid vmess.UUID) match.UserID {
	const text = "heki vmess user "
	var b [len(text) + 16]byte
	copy(b[copy(b[:], text):], uuid[:])
	sum := sha256.Sum256(b[:])
	return match.UserID(binary.LittleEndian.Uint64(sum[:]))
}

func newKeys(uuid vmess.UUID, id match.UserID) *keys {
	cmdKey := vmess.CmdKey(uuid)
	return &keys{uuid: uuid, id: id, cmdKey: cmdKey, block: vmess.NewAuthIDCipher(cmdKey)}
}

// entry is one user of a set.
type entry struct {
	*keys
	user *adapter.User
}

// mode says which ways to authenticate an inbound has.
type mode struct{ legacy, forceAEAD, forceLegacy bool }

// aead says whether a user with alterID may authenticate with AEAD.
func (m mode) aead(alterID int) bool {
	return m.forceAEAD || !m.forceLegacy && alterID == 0
}

// set is all users of an inbound. It never changes.
type set struct {
	entries []entry        // those who may use AEAD first
	blocks  []cipher.Block // of those, side by side: what a scan walks through
	byID    map[match.UserID]int32
	md5     bool // the others, and these, may use MD5
}

// newSet makes the set of users, with the keys of prev where the uuid is the same. The error names the
// user.
func newSet(prev *set, users []*adapter.User, m mode) (*set, error) {
	s := &set{
		entries: make([]entry, 0, len(users)),
		blocks:  make([]cipher.Block, 0, len(users)),
		byID:    make(map[match.UserID]int32, len(users)),
		md5:     m.forceLegacy || m.legacy && !m.forceAEAD,
	}
	var md5Only []entry
	old := predecessor{set: prev}
	for _, u := range users {
		if err := check(u); err != nil {
			return nil, fmt.Errorf("user %q: %w", u.Name, err)
		}
		e := entry{old.keys(u.UUID), u}
		if !m.aead(u.AlterID) {
			s.md5 = true
			md5Only = append(md5Only, e)
			continue
		}
		if err := s.add(e); err != nil {
			return nil, err
		}
		s.blocks = append(s.blocks, e.block)
	}
	for _, e := range md5Only {
		if err := s.add(e); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// maxAlterID is V2Ray's own bound: its field has 16 bits.
const maxAlterID = 65535

func check(u *adapter.User) error {
	if u.UUID == (vmess.UUID{}) {
		return errors.New("has no uuid")
	}
	if u.AlterID < 0 || u.AlterID > maxAlterID {
		return fmt.Errorf("alterId is %d, must be 0 to %d", u.AlterID, maxAlterID)
	}
	return nil
}

// predecessor finds the keys of a set again. Most users stand where they stood.
type predecessor struct {
	*set
	next int
}

func (p *predecessor) keys(uuid vmess.UUID) *keys {
	if p.next < len(p.entries) && p.entries[p.next].uuid == uuid {
		p.next++
		return p.entries[p.next-1].keys
	}
	id := userIDOf(uuid)
	if i, ok := p.byID[id]; ok && p.entries[i].uuid == uuid {
		p.next = int(i) + 1
		return p.entries[i].keys
	}
	return newKeys(uuid, id)
}

func (s *set) add(e entry) error {
	if i, dup := s.byID[e.id]; dup {
		return fmt.Errorf("users %q and %q have the same credential", s.entries[i].user.Name, e.user.Name)
	}
	s.byID[e.id] = int32(len(s.entries))
	s.entries = append(s.entries, e)
	return nil
}

// find returns the user with that id.
func (s *set) find(id match.UserID) (*entry, bool) {
	i, ok := s.byID[id]
	if !ok {
		return nil, false
	}
	return &s.entries[i], true
}

// findAEAD is find for those who may use AEAD.
func (s *set) findAEAD(id match.UserID) (*entry, bool) {
	i, ok := s.byID[id]
	if !ok || int(i) >= len(s.blocks) {
		return nil, false
	}
	return &s.entries[i], true
}

// scan tries everybody. plain is scratch.
func (s *set) scan(id []byte, plain *[vmess.AuthIDSize]byte) (*entry, int64) {
	for i, block := range s.blocks {
		if unix, ok := vmess.OpenAuthID(block, id, plain); ok {
			return &s.entries[i], unix
		}
	}
	return nil, 0
}

// legacy returns those who may use MD5.
func (s *set) legacy() []entry {
	if !s.md5 {
		return nil
	}
	return s.entries
}
