package meter

import (
	"errors"
	"fmt"
	"sync"
)

// Policy is what becomes of a report whose fate is unknown: it was sent, then came a timeout or a 5xx,
// or the process died before the answer. No panel can be asked.
type Policy uint8

const (
	Hold  Policy = iota // keep it in the journal and leave it to a person: never bills twice
	Retry               // report it again: never bills too little
	Drop                // forget it: never bills twice, keeps nothing
)

// ParsePolicy reads the option traffic.on_ambiguous; "" is hold.
func ParsePolicy(s string) (Policy, error) {
	switch s {
	case "", "hold":
		return Hold, nil
	case "retry":
		return Retry, nil
	case "drop":
		return Drop, nil
	}
	return Hold, fmt.Errorf("is %q, must be hold, retry or drop", s)
}

// String returns the option's word.
func (p Policy) String() string {
	switch p {
	case Retry:
		return "retry"
	case Drop:
		return "drop"
	}
	return "hold"
}

// Outcome is how a report ended. The zero value is the careful one: ambiguous, hold.
type Outcome uint8

const (
	ambiguousHold Outcome = iota
	ambiguousRetry
	ambiguousDrop
	Accepted // the panel has it: 2xx and a valid body
	Refused  // the panel does not have it: no connection, 4xx, a failure body
)

// Ambiguous is the outcome of a report that the panel may or may not have.
func Ambiguous(p Policy) Outcome {
	switch p {
	case Retry:
		return ambiguousRetry
	case Drop:
		return ambiguousDrop
	}
	return ambiguousHold
}

// ErrInFlight is wrapped by Next while the outcome of the batch before is not known.
var ErrInFlight = errors.New("a report is in flight")

// Outbox is one node's way from counters to panel. Every byte a user moves is, at any moment, in one
// place: the counters, the journal (pending, in flight or held), or accepted by the panel.
//
//	Checkpoint  counters → pending                  every few seconds: bounds what a crash costs
//	Next        counters → pending → in flight      the report to send now
//	Done        in flight → gone | pending | held   the panel's answer
//
// A crash loses what was counted since the last Checkpoint or Next, and nothing else. What it finds in
// flight is ambiguous and falls under the policy. See Journal for each single step. Since a refused batch
// goes back to pending and never to the counters, there is no way for it to exist twice.
//
// The methods are safe for concurrent use; one goroutine reports, any may checkpoint or look. A node has
// one Outbox at a time, and a directory one process.
type Outbox struct {
	node    *Node
	journal *Journal

	mu        sync.Mutex
	flight    string   // id of the batch between Next and Done
	recovered []string // ids of batches that a former process left in flight
}

// OpenOutbox opens the outbox of n with its journal in dir, see Dir. What a former process left pending
// goes out with the next report; what it left in flight waits for Recover.
//
// If the error wraps ErrCorrupt, the outbox is not nil and works: a corrupt journal was moved aside, the
// error names it. Tell the operator and go on.
func OpenOutbox(dir string, n *Node) (*Outbox, error) {
	j, err := OpenJournal(dir)
	if j == nil {
		return nil, err
	}
	o := &Outbox{node: n, journal: j}
	for _, b := range j.sent {
		o.recovered = append(o.recovered, b.ID)
	}
	return o, err
}

// Recover applies policy to what a former process left in flight and returns it for the log. Call it
// once after OpenOutbox; without it the first Next holds what is there. An error is the disk's, as in Done.
func (o *Outbox) Recover(policy Policy) ([]Batch, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.recoverLocked(policy)
}

func (o *Outbox) recoverLocked(policy Policy) ([]Batch, error) {
	var batches []Batch
	var errs []error
	for _, b := range o.journal.Sent() {
		for _, id := range o.recovered {
			if id == b.ID {
				batches = append(batches, b)
				errs = append(errs, o.resolve(id, Ambiguous(policy)))
			}
		}
	}
	o.recovered = nil
	return batches, errors.Join(errs...)
}

// Checkpoint moves the counters into the journal, merged by user, and drops retired meters that are
// drained. It returns once the bytes are on disk; with nothing new it writes nothing. With an error the
// bytes are in the journal's memory and the next Checkpoint or Next writes them.
func (o *Outbox) Checkpoint() error {
	err := o.journal.Append(o.node.Take())
	o.node.Forget()
	return err
}

// Portion says what goes out in one report; the rest stays pending. The zero value is everything.
type Portion struct {
	MinBytes int64               // only users with as much, up and down together
	Gone     func(id int64) bool // whom MinBytes does not hold back: nothing more will come of them; nil is nobody
	Limit    int                 // users at most, for panels that bound a request; 0 is all
	Only     func(id int64) bool // only these users; nil is all
}

// Next returns the batch to report now: all counters and all that is pending, of which p. It is journalled
// as in flight before Next returns. The caller must end it with Done. ok is false when there is nothing to
// report.
//
// With an error nothing may be reported: either the disk does not take it, all bytes are kept, or
// ErrInFlight, the batch before has no outcome yet.
func (o *Outbox) Next(p Portion) (b Batch, ok bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flight != "" {
		return Batch{}, false, fmt.Errorf("node %q: batch %s: %w", o.node.tag, o.flight, ErrInFlight)
	}
	if _, err := o.recoverLocked(Hold); err != nil {
		return Batch{}, false, err
	}
	b, ok, err = o.journal.Send(o.node.Take(), p)
	o.node.Forget()
	if ok {
		o.flight = b.ID
	}
	return b, ok, err
}

// Done records how the report of b, the batch Next returned last, ended. The outcome holds in memory at
// once, whatever the disk says. An error means that the disk does not know it yet: the next write
// repeats it, and only a crash before that would find the batch in flight, hence ambiguous.
func (o *Outbox) Done(b Batch, outcome Outcome) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b.ID == "" || b.ID != o.flight {
		return fmt.Errorf("node %q: batch %q is not in flight", o.node.tag, b.ID)
	}
	o.flight = ""
	return o.resolve(b.ID, outcome)
}

func (o *Outbox) resolve(id string, outcome Outcome) error {
	switch outcome {
	case Accepted, ambiguousDrop:
		return o.journal.Settle(id)
	case Refused, ambiguousRetry:
		return o.journal.Return(id)
	}
	return o.journal.Hold(id)
}

// Held returns the batches a person has to decide about, oldest first.
func (o *Outbox) Held() []Batch { return o.journal.Held() }

// Release puts a held batch back among what is pending: the panel turned out not to have it.
func (o *Outbox) Release(id string) error {
	return o.unhold(id, o.journal.Return)
}

// Discard forgets a held batch: the panel turned out to have it.
func (o *Outbox) Discard(id string) error {
	return o.unhold(id, o.journal.Settle)
}

func (o *Outbox) unhold(id string, end func(string) error) error {
	for _, b := range o.journal.Held() {
		if b.ID == id {
			return end(id)
		}
	}
	return fmt.Errorf("node %q: no held batch %q", o.node.tag, id)
}

// Backlog returns how much is journalled and neither accepted nor held: users (one in flight and
// pending counts twice) and bytes both ways. It never waits for the disk.
func (o *Outbox) Backlog() (users int, bytes int64) {
	return int(o.journal.backlogUsers.Load()), o.journal.backlogBytes.Load()
}

// HeldBytes returns how many batches are held and their bytes both ways. It never waits for the disk.
func (o *Outbox) HeldBytes() (batches int, bytes int64) {
	return int(o.journal.heldBatches.Load()), o.journal.heldBytes.Load()
}
