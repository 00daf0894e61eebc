package meter

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Held batches keep their own identity up to these bounds; beyond them the two oldest become one, so
// that a panel that answers 502 for a month does not grow the journal by a batch a minute.
const (
	maxHeld      = 16
	maxHeldUsers = 200_000 // entries of all held batches, about 10 MB of file
)

// Journal is the crash-safe record of the traffic of one node that the panel has not accepted yet.
//
// A batch goes
//
//	counters ──Append──▶ pending ──Send──▶ sent ──Settle──▶ gone     the panel has it
//	                        ▲                 ├────Return─▶ pending  the panel does not have it
//	                        └────Return───────┴────Hold───▶ held     nobody knows; Settle or Return later
//
// The journal is one file that every step replaces as a whole: written beside it, fsynced, renamed over
// it, directory fsynced. So there is no moment with half a step on disk. A crash before the rename
// leaves the state before the step, a crash after it the state after:
//
//   - during Append: the batch was only in memory, as the counters before it; it is lost with them.
//   - during Send: pending or sent. It was not given to the panel yet, so both are true enough.
//   - after Send, before the panel's answer is recorded: sent. Whether the panel has it is unknown; the
//     next process finds it in Sent and must treat it as ambiguous.
//   - during Settle, Return, Hold: either still sent, as above, or done.
//
// When a write fails, Append, Settle, Return and Hold still happen in memory and the error says that the
// disk does not know yet; the next write of any kind records it. Only Send undoes itself, since what
// the disk does not know as sent must not be sent. Nothing to record writes nothing.
//
// Pending batches are merged into one by user. All methods are safe for concurrent use.
type Journal struct {
	dir  string
	step func(op string) error // tests: called before each file operation, an error stops it

	// mu is held across the write on purpose: it is what keeps writes in order. What status pages read
	// is in the atomics, so nobody waits for the disk to look.
	mu      sync.Mutex
	pending table
	newest  Batch // id, time and node of the pending batch, without users
	sent    []Batch
	held    []Batch
	stale   bool // the disk does not know the latest step
	onDisk  bool // there is a file

	backlogUsers, backlogBytes atomic.Int64 // pending and sent
	heldBatches, heldBytes     atomic.Int64
}

// OpenJournal reads the journal in dir, the directory of one node. A directory that does not exist is an
// empty journal and is made by the first write.
//
// A corrupt file is moved aside and nothing of it is used. Then the error wraps ErrCorrupt and names
// where the file went, and the journal is not nil: it is empty and works. With any other error it is nil.
func OpenJournal(dir string) (*Journal, error) {
	j := &Journal{dir: dir}
	entries, err := j.load()
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return nil, err
	}
	for _, e := range entries {
		switch e.state {
		case pending:
			j.pending.add(e.Users)
			j.newest = Batch{ID: e.ID, Time: e.Time, Node: e.Node}
		case sent:
			j.sent = append(j.sent, e.Batch)
		case held:
			j.held = append(j.held, e.Batch)
		}
	}
	j.onDisk = len(entries) > 0
	j.tallyLocked()
	return j, err
}

// Append makes b pending. From here b is the journal's, with an error of the disk too: it is in memory
// and part of the next write, so do not append it again. Only a batch that no Take made, with a bad id
// or negative bytes, is refused.
func (j *Journal) Append(b Batch) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.mergeLocked(b); err != nil {
		return err
	}
	return j.saveLocked()
}

// Send merges b into what is pending, then moves p of that into one batch that is recorded as sent. ok is
// false when there is none. With an error nothing may be sent; all bytes, b's too, stay pending.
func (j *Journal) Send(b Batch, p Portion) (out Batch, ok bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.mergeLocked(b); err != nil {
		return Batch{}, false, err
	}
	users := j.pending.split(p)
	if len(users) == 0 {
		return Batch{}, false, j.saveLocked()
	}
	now := time.Now()
	out = Batch{Node: j.newest.Node, ID: newID(now), Time: now, Users: users}
	j.sent = append(j.sent, out)
	j.stale = true
	if err := j.saveLocked(); err != nil {
		j.sent = j.sent[:len(j.sent)-1]
		j.pending.add(users)
		j.stale = true // even if the rename went through: a crash would find it sent, hence ambiguous, not lost
		j.tallyLocked()
		return Batch{}, false, err
	}
	return out, true, nil
}

// Settle removes the batch: the panel has it, or its bytes are given up.
func (j *Journal) Settle(id string) error {
	return j.leave(id, func(Batch) {})
}

// Return makes the batch pending again: the panel definitely does not have it.
func (j *Journal) Return(id string) error {
	return j.leave(id, func(b Batch) {
		j.pending.add(b.Users)
		j.newest = Batch{ID: b.ID, Time: b.Time, Node: b.Node}
	})
}

// Hold keeps the batch out of the way: the panel may or may not have it.
func (j *Journal) Hold(id string) error {
	return j.leave(id, func(b Batch) {
		j.held = append(j.held, b)
		for len(j.held) > 1 && (len(j.held) > maxHeld || countUsers(j.held) > maxHeldUsers) {
			j.held = append([]Batch{join(j.held[0], j.held[1])}, j.held[2:]...)
		}
	})
}

// Pending returns what is to be sent, merged into at most one batch.
func (j *Journal) Pending() []Batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.pending.users) == 0 {
		return nil
	}
	return []Batch{j.pendingLocked()}
}

// Sent returns what was sent and has no outcome yet.
func (j *Journal) Sent() []Batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	return cloneAll(j.sent)
}

// Held returns what a person has to decide about, oldest first. When there would be more than 16, the
// oldest are joined under the id of the newer one.
func (j *Journal) Held() []Batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	return cloneAll(j.held)
}

// mergeLocked adds b to what is pending.
func (j *Journal) mergeLocked(b Batch) error {
	if len(b.Users) == 0 {
		return nil
	}
	if err := checkID(b.ID); err != nil {
		return err
	}
	for _, u := range b.Users { // a counter cannot be negative, and such a file would not be read back
		if u.Up < 0 || u.Down < 0 {
			return fmt.Errorf("traffic journal %s: %s moved %d and %d bytes", j.dir, keyOf(u.ID, u.Name), u.Up, u.Down)
		}
	}
	j.pending.add(b.Users)
	j.newest = Batch{ID: b.ID, Time: b.Time, Node: b.Node}
	j.stale = true
	return nil
}

// leave takes the batch with this id from where it is and gives it to next.
func (j *Journal) leave(id string, next func(Batch)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	b, ok := j.extractLocked(id)
	if !ok {
		return fmt.Errorf("traffic journal %s: no batch %q", j.dir, id)
	}
	next(b)
	j.stale = true
	return j.saveLocked()
}

func (j *Journal) extractLocked(id string) (Batch, bool) {
	for _, list := range []*[]Batch{&j.sent, &j.held} {
		for i, b := range *list {
			if b.ID == id {
				*list = append((*list)[:i:i], (*list)[i+1:]...)
				return b, true
			}
		}
	}
	if len(j.pending.users) > 0 && j.newest.ID == id {
		b := j.pendingLocked()
		j.pending = table{}
		return b, true
	}
	return Batch{}, false
}

// pendingLocked returns a copy of what is pending.
func (j *Journal) pendingLocked() Batch {
	b := j.newest
	b.Users = append([]Traffic(nil), j.pending.users...)
	return b
}

// saveLocked brings the disk up to date, if it is not.
func (j *Journal) saveLocked() error {
	j.tallyLocked()
	if !j.stale {
		return nil
	}
	var entries []entry
	if len(j.pending.users) > 0 {
		b := j.newest
		b.Users = j.pending.users
		entries = append(entries, entry{pending, b})
	}
	for _, b := range j.sent {
		entries = append(entries, entry{sent, b})
	}
	for _, b := range j.held {
		entries = append(entries, entry{held, b})
	}
	if err := j.store(entries); err != nil {
		return fmt.Errorf("traffic journal %s: %w; the bytes are kept in memory", j.dir, err)
	}
	j.stale = false
	return nil
}

// tallyLocked refreshes the figures for status pages.
func (j *Journal) tallyLocked() {
	users, bytes := len(j.pending.users), j.pending.bytes
	for _, b := range j.sent {
		users += len(b.Users)
		bytes += b.Bytes()
	}
	j.backlogUsers.Store(int64(users))
	j.backlogBytes.Store(bytes)
	bytes = 0
	for _, b := range j.held {
		bytes += b.Bytes()
	}
	j.heldBatches.Store(int64(len(j.held)))
	j.heldBytes.Store(bytes)
}

// join sums two batches under the name of the newer one, b.
func join(a, b Batch) Batch {
	var t table
	t.add(a.Users)
	t.add(b.Users)
	b.Users = t.users
	return b
}

func countUsers(list []Batch) int {
	n := 0
	for _, b := range list {
		n += len(b.Users)
	}
	return n
}

// cloneAll copies the list and its users, which later merges change in place.
func cloneAll(list []Batch) []Batch {
	out := make([]Batch, len(list))
	for i, b := range list {
		out[i] = b
		out[i].Users = append([]Traffic(nil), b.Users...)
	}
	return out
}
