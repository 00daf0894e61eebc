package meter

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"time"

	"heki/adapter"
)

// Traffic is what one user moved, in bytes of payload.
type Traffic struct {
	ID   int64  // the panel's; 0 for users known by name only
	Name string // the account's name when the bytes were taken
	Up   int64  // towards the remote
	Down int64  // towards the client
}

// Batch is traffic that travels together: taken, journalled, sent and settled as one.
type Batch struct {
	Node  string // tag
	ID    string // unique: time and chance
	Time  time.Time
	Users []Traffic // one entry per user, in no order
}

// Bytes returns the batch's total, both ways.
func (b Batch) Bytes() int64 {
	var sum int64
	for _, t := range b.Users {
		sum += t.Up + t.Down
	}
	return sum
}

// newID returns a batch id that no other process or moment repeats. It sorts by time.
func newID(now time.Time) string {
	var chance [6]byte
	rand.Read(chance[:]) // never fails, by its contract
	return strconv.FormatInt(now.UnixMilli(), 10) + "-" + hex.EncodeToString(chance[:])
}

// table sums traffic by user. The zero value is empty.
type table struct {
	users []Traffic
	index map[userKey]int // position in users
	bytes int64           // total both ways
}

// add merges users into the table; the name given last stays.
func (t *table) add(users []Traffic) {
	if t.index == nil && len(users) > 0 {
		t.index = make(map[userKey]int, len(users))
	}
	for _, u := range users {
		t.bytes += u.Up + u.Down
		key := keyOf(u.ID, u.Name)
		i, known := t.index[key]
		if !known {
			t.index[key] = len(t.users)
			t.users = append(t.users, u)
			continue
		}
		t.users[i].Up += u.Up
		t.users[i].Down += u.Down
		t.users[i].Name = u.Name
	}
}

// split takes p out of the table.
func (t *table) split(p Portion) []Traffic {
	var out, rest []Traffic
	for _, u := range t.users {
		enough := u.Up+u.Down >= p.MinBytes || p.Gone != nil && p.Gone(u.ID)
		if enough && (p.Limit <= 0 || len(out) < p.Limit) && (p.Only == nil || p.Only(u.ID)) {
			out = append(out, u)
		} else {
			rest = append(rest, u)
		}
	}
	if len(out) > 0 {
		*t = table{}
		t.add(rest)
	}
	return out
}

// Take moves every counter into a batch, those of retired meters included, one entry per user. What is
// counted meanwhile is in this batch or in the next, never in both or in none. From here the bytes are
// the caller's: journal them, or give them back with Restore.
func (n *Node) Take() Batch {
	return n.TakeAbove(0)
}

// TakeAbove is Take for users with at least minBytes; the others keep their counters.
func (n *Node) TakeAbove(minBytes int64) Batch {
	now := time.Now()
	b := Batch{Node: n.tag, ID: newID(now), Time: now}
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, head := range n.meters {
		var waiting int64
		for m := head; m != nil; m = m.older {
			waiting += m.up.Load() + m.down.Load()
		}
		if waiting == 0 || waiting < minBytes {
			continue
		}
		t := Traffic{ID: key.id, Name: head.label()}
		for m := head; m != nil; m = m.older {
			up, down := m.up.Swap(0), m.down.Swap(0)
			m.taken += up + down
			t.Up += up
			t.Down += down
		}
		n.taken.Up += t.Up
		n.taken.Down += t.Down
		b.Users = append(b.Users, t)
	}
	return b
}

// Restore adds a batch back to the counters: it was taken and definitely not reported. Users who are
// gone meanwhile get a retired meter to hold their bytes until the next Take.
//
// It is for callers without an Outbox. A journalled batch must not be restored as well, it would be
// reported twice; Outbox.Done(Refused) is the way back there.
func (n *Node) Restore(b Batch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range b.Users {
		m := n.meters[keyOf(t.ID, t.Name)]
		if m == nil {
			m = n.addLocked(adapter.Account{ID: t.ID, Name: t.Name})
			m.retire()
		}
		m.up.Add(t.Up)
		m.down.Add(t.Down)
		m.taken -= t.Up + t.Down
		n.taken.Up -= t.Up
		n.taken.Down -= t.Down
	}
}

// Stats are a node's figures at one moment.
type Stats struct {
	Users    int   // accounts that may connect
	Online   int   // accounts with an open connection
	Conns    int   // open connections
	Opened   int64 // connections since the process started, open ones included
	Up, Down int64 // bytes since the process started, reported or not
}

// Stats returns the node's figures. It visits every user: call it for people, not per packet.
func (n *Node) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := Stats{Conns: int(n.conns.Load()), Opened: n.opened.Load(), Up: n.taken.Up, Down: n.taken.Down}
	for _, head := range n.meters {
		live, online := false, false
		for m := head; m != nil; m = m.older {
			s.Up += m.up.Load()
			s.Down += m.down.Load()
			live = live || !m.retired.Load()
			online = online || m.online()
		}
		if live {
			s.Users++
		}
		if online {
			s.Online++
		}
	}
	return s
}

// label returns the account's name.
func (m *Meter) label() string {
	m.person.mu.Lock()
	defer m.person.mu.Unlock()
	return m.name
}

// online tells whether the meter has an open connection.
func (m *Meter) online() bool {
	m.person.mu.Lock()
	defer m.person.mu.Unlock()
	return m.seated > 0
}
