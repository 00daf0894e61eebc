package vmess

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"
	"time"

	"heki/inbound/internal/match"
	"heki/internal/protocol/vmess"
)

const (
	// epochSeconds is what one table covers: a table is dropped whole when its time is over.
	epochSeconds = 10
	// maxLegacyIDs bounds uuids and alter ids of one inbound together: a slot numbers them with 20 bits.
	maxLegacyIDs = 1<<20 - 1
)

// legacyTable finds whose a legacy auth id is. Such an id is a hash of a user's uuid, or of one of its
// alter ids, and of a second: 241 are valid for each uuid and alter id at any time.
//
// It keeps none of them. For 10 seconds of all users there is a table of slots, made when the first
// client comes that only it can know, and a slot is 12 bits of the hash and the number of the id; the
// hash is computed again to be sure. That is 1.5 KB for each id while such clients come, a map of the
// hashes would be 13 KB. A second costs 0.4 µs of one core for each id, and the first lookup after a
// pause all 250. While none comes, it costs nothing.
type legacyTable struct {
	mu     sync.Mutex
	ids    []legacyID // numbers stay: what goes is only marked
	spans  map[match.UserID]span
	gone   int
	epochs map[int64]*epoch
	burnt  *match.Filter
}

type legacyID struct {
	id   vmess.UUID
	user match.UserID
	gone bool
}

// span is which of the ids are a user's.
type span struct{ from, to int }

// update makes users, with their alterId, those who are found.
func (t *legacyTable) update(users []entry) error {
	total := 0
	for i := range users {
		total += 1 + users[i].user.AlterID
	}
	if total > maxLegacyIDs {
		return fmt.Errorf("users have %d alter ids together, must have at most %d", total, maxLegacyIDs)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaveLocked(users)
	if total+t.gone > maxLegacyIDs || t.gone > len(t.ids)/2 {
		t.ids, t.spans, t.epochs, t.gone = nil, nil, nil, 0
	}
	if t.spans == nil {
		t.spans, t.epochs = make(map[match.UserID]span), make(map[int64]*epoch)
		if t.burnt == nil {
			t.burnt = match.NewFilter(authIDPeriod, filterSize)
		}
	}
	for i := range users {
		u := &users[i]
		if _, there := t.spans[u.id]; there {
			continue
		}
		from, id := len(t.ids), u.uuid
		t.ids = append(t.ids, legacyID{id: id, user: u.id})
		for range u.user.AlterID {
			id = vmess.AlterID(id)
			t.ids = append(t.ids, legacyID{id: id, user: u.id})
		}
		t.spans[u.id] = span{from, len(t.ids)}
	}
	return nil
}

// leaveLocked marks the ids of those who are not among users any more.
func (t *legacyTable) leaveLocked(users []entry) {
	wanted := make(map[match.UserID]int, len(users))
	for i := range users {
		wanted[users[i].id] = 1 + users[i].user.AlterID
	}
	for user, s := range t.spans {
		if wanted[user] == s.to-s.from {
			continue
		}
		for i := s.from; i < s.to; i++ {
			t.ids[i].gone = true
		}
		t.gone += s.to - s.from
		delete(t.spans, user)
	}
}

// find returns the user of the auth id, and its time. The likely times are looked at first, so that
// those who have the right time need no other table. A burnt id is nobody's.
func (t *legacyTable) find(id []byte, now time.Time) (user match.UserID, unix int64, ok bool) {
	sec := now.Unix()
	first, last := (sec-vmess.Window)/epochSeconds, (sec+vmess.Window)/epochSeconds
	mid := sec / epochSeconds
	for d := int64(0); mid-d >= first || mid+d <= last; d++ {
		for _, n := range [...]int64{mid + d, mid - d} {
			if n < first || n > last {
				continue
			}
			user, unix, ok = t.look(id, n, sec)
			if ok {
				return user, unix, !t.burnt.Has(now, id)
			}
			if d == 0 {
				break
			}
		}
	}
	t.expire(first, last)
	return 0, 0, false
}

// expire drops the tables outside of first to last.
func (t *legacyTable) expire(first, last int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := range t.epochs {
		if n < first || n > last {
			delete(t.epochs, n)
		}
	}
}

// look looks at one table. The lock is not held for all of them at once: making one takes 4 µs an id.
func (t *legacyTable) look(id []byte, n, now int64) (user match.UserID, unix int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.ids) == t.gone {
		return 0, 0, false
	}
	e := t.epochLocked(n)
	at, tag := e.place(id)
	for ; e.slots[at] != 0; at = e.after(at) {
		if e.slots[at]&tagMask != tag {
			continue
		}
		who := &t.ids[e.slots[at]&^tagMask-1]
		if unix, ok := secondOf(who.id, id, n); ok && !who.gone && unix >= now-vmess.Window && unix <= now+vmess.Window {
			return who.user, unix, true
		}
	}
	return 0, 0, false
}

// secondOf returns the second of epoch n in which auth is the auth id of uuid.
func secondOf(uuid vmess.UUID, auth []byte, n int64) (int64, bool) {
	maker := vmess.NewLegacyID(uuid)
	var sum [vmess.AuthIDSize]byte
	for unix := n * epochSeconds; unix < (n+1)*epochSeconds; unix++ {
		if maker.Auth(unix, &sum); string(sum[:]) == string(auth) {
			return unix, true
		}
	}
	return 0, false
}

// burn makes an auth id useless: its header failed. Bits of a header can be flipped, and whoever does
// that must not see twice what comes of it.
func (t *legacyTable) burn(id []byte, now time.Time) { t.burnt.First(now, id) }

// epoch is the table of 10 seconds: open addressing, 0 is free.
type epoch struct {
	slots   []uint32 // tag in the upper 12 bits, number of the id from 1 below
	covered int      // ids that are in it
}

const (
	tagMask = 0xfff << 20
	// perID is how many slots an id gets for its 10 hashes; the table is made anew, larger, once there
	// are less than crowded for each.
	perID   = 15
	crowded = 12
)

// epochLocked returns the table of epoch n with all ids in it.
func (t *legacyTable) epochLocked(n int64) *epoch {
	e := t.epochs[n]
	if e == nil || len(e.slots) < crowded*len(t.ids) {
		e = &epoch{slots: make([]uint32, perID*len(t.ids))}
		t.epochs[n] = e
	}
	var sum [vmess.AuthIDSize]byte
	for ; e.covered < len(t.ids); e.covered++ {
		who := &t.ids[e.covered]
		if who.gone {
			continue
		}
		maker := vmess.NewLegacyID(who.id)
		for unix := n * epochSeconds; unix < (n+1)*epochSeconds; unix++ {
			maker.Auth(unix, &sum)
			at, tag := e.place(sum[:])
			for e.slots[at] != 0 {
				at = e.after(at)
			}
			e.slots[at] = tag | uint32(e.covered+1)
		}
	}
	return e
}

// place returns where the search for an auth id begins, and its tag.
func (e *epoch) place(id []byte) (at int, tag uint32) {
	high, _ := bits.Mul64(binary.LittleEndian.Uint64(id), uint64(len(e.slots)))
	return int(high), uint32(binary.LittleEndian.Uint16(id[8:])) << 20 & tagMask
}

func (e *epoch) after(at int) int {
	if at++; at == len(e.slots) {
		return 0
	}
	return at
}
