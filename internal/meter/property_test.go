package meter

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"

	"heki/adapter"
)

// TestNoByteLostOrInvented runs a node through 1 000 rounds, or a fifth with the race detector, of traffic,
// user changes, panel failures, disk failures and crashes at every step of the journal. After each round,
// for each user:
//
//	counted = accepted + held + dropped + pending + still in the counters
//
// and, where ambiguous batches are held, what really reached the panel plus what will still be sent is
// never more than was counted: nobody is billed twice.
func TestNoByteLostOrInvented(t *testing.T) {
	for _, tt := range []struct {
		policy Policy
		rounds int
	}{{Hold, 1000}, {Retry, 300}, {Drop, 300}} {
		t.Run(tt.policy.String(), func(t *testing.T) {
			t.Parallel() // much of it is waiting for the disk
			if raceEnabled {
				tt.rounds /= 5
			}
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), policy: tt.policy, dir: t.TempDir()}
			w.start()
			for range tt.rounds {
				w.round()
				w.check()
				if t.Failed() {
					return
				}
			}
			t.Logf("%d failures of the panel, %d of the disk, %d crashes, %d left in flight; %d bytes counted, %d accepted, %d held",
				w.refusals, w.diskErrors, w.crashes, w.found, w.counted.bytes, w.accepted.bytes, w.outbox.journal.heldBytes.Load())
		})
	}
}

var (
	errDisk  = errors.New("disk full")
	errCrash = errors.New("crashed")
)

// world is a node, its panel and the truth about both.
type world struct {
	t      *testing.T
	rng    *rand.Rand
	policy Policy
	dir    string

	node   *Node
	outbox *Outbox

	counted  table // what the connections moved
	accepted table // what heki recorded as accepted
	dropped  table // what policy drop gave up
	received table // what really reached the panel

	refusals, diskErrors, crashes, found int
}

const worldUsers = 6

// start is a new process on the same directory.
func (w *world) start() {
	w.node = newTestNode()
	o, err := OpenOutbox(w.dir, w.node)
	if err != nil {
		w.t.Fatalf("OpenOutbox: %v", err)
	}
	w.outbox = o
	for id := range int64(worldUsers) {
		w.node.Meter(adapter.Account{ID: id + 1})
	}
}

func (w *world) round() {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range 2 {
		rng := rand.New(rand.NewPCG(w.rng.Uint64(), 2))
		wg.Go(func() {
			for range 20 {
				moved := Traffic{ID: rng.Int64N(worldUsers) + 1, Up: rng.Int64N(1000), Down: rng.Int64N(5000)}
				l, err := w.node.Meter(adapter.Account{ID: moved.ID}).Open(context.Background(), home, func() {})
				if err != nil {
					continue // retired in between
				}
				l.Up(moved.Up)
				l.Down(moved.Down)
				l.Close()
				mu.Lock()
				w.counted.add([]Traffic{moved})
				mu.Unlock()
			}
		})
	}
	for range 4 {
		w.changeUsers()
		w.failDisk()
		if w.rng.IntN(2) == 0 {
			w.note(w.outbox.Checkpoint())
		} else {
			w.report()
		}
	}
	wg.Wait()
	if w.rng.IntN(3) == 0 {
		w.crash()
	}
}

// changeUsers removes or renews a random user.
func (w *world) changeUsers() {
	a := adapter.Account{ID: w.rng.Int64N(worldUsers) + 1}
	gone := w.node.Meter(a)
	if w.rng.IntN(2) == 0 {
		gone, _ = w.node.Renew(a)
	}
	w.node.Retire(gone)
	gone.Kick()
	w.node.Forget()
}

// failDisk makes each file operation of the journal fail now and then, or never.
func (w *world) failDisk() {
	if w.rng.IntN(3) > 0 {
		w.outbox.journal.step = nil
		return
	}
	w.outbox.journal.step = func(string) error {
		if w.rng.IntN(3) == 0 {
			return errDisk
		}
		return nil
	}
}

// note accepts the disk's errors and no others.
func (w *world) note(err error) {
	w.t.Helper()
	if err == nil {
		return
	}
	if !errors.Is(err, errDisk) && !errors.Is(err, errCrash) {
		w.t.Errorf("unexpected error: %v", err)
	}
	w.diskErrors++
}

// report sends a batch to a panel in a random mood.
func (w *world) report() {
	b, ok, err := w.outbox.Next(Portion{MinBytes: w.rng.Int64N(8000), Limit: w.rng.IntN(4)})
	w.note(err)
	if !ok {
		return
	}
	outcome, arrived := w.answer()
	if arrived {
		w.received.add(b.Users)
	}
	if w.rng.IntN(2) == 0 {
		w.note(w.outbox.Checkpoint()) // the ticker's, while the request is under way
	}
	w.note(w.outbox.Done(b, outcome))
	switch outcome {
	case Accepted:
		w.accepted.add(b.Users)
	case ambiguousDrop:
		w.dropped.add(b.Users)
	}
}

// answer is the panel's, and whether it has the batch.
func (w *world) answer() (outcome Outcome, arrived bool) {
	switch w.rng.IntN(4) {
	case 0:
		return Accepted, true
	case 1:
		w.refusals++
		return Refused, false
	}
	w.refusals++
	return Ambiguous(w.policy), w.rng.IntN(2) == 0
}

// crash ends the process at a random point of a report and starts the next one. All that was counted is
// journalled before: what is not is lost by design, see Outbox.
func (w *world) crash() {
	w.crashes++
	j := w.outbox.journal
	j.step = nil
	if err := w.outbox.Checkpoint(); err != nil {
		w.t.Errorf("Checkpoint: %v", err)
	}
	steps := w.rng.IntN(8) // until the crash: a write is mkdir, write, rename, sync
	j.step = func(op string) error {
		if steps--; steps >= 0 {
			return nil
		}
		if op == "write" {
			os.WriteFile(filepath.Join(w.dir, journalNew), []byte("half"), 0o600)
		}
		return errCrash
	}
	b, ok, err := w.outbox.Next(Portion{})
	w.note(err)
	outcome, arrived := w.answer()
	if ok && arrived {
		w.received.add(b.Users)
	}
	answered := ok && w.rng.IntN(2) == 0
	if answered {
		w.note(w.outbox.Done(b, outcome))
	}

	w.start()
	recovered, err := w.outbox.Recover(w.policy)
	w.note(err)
	w.found += len(recovered)
	for _, r := range recovered {
		if w.policy == Drop {
			w.dropped.add(r.Users)
		}
		if r.ID == b.ID {
			answered = false // the crash came before the answer was recorded
		}
	}
	switch {
	case answered && outcome == Accepted:
		w.accepted.add(b.Users)
	case answered && outcome == ambiguousDrop:
		w.dropped.add(b.Users)
	}
}

// check compares the books with the truth, user by user.
func (w *world) check() {
	w.t.Helper()
	j := w.outbox.journal
	waiting := w.node.Take()
	w.node.Restore(waiting)
	var owed, booked table
	owed.add(waiting.Users)
	for _, b := range append(j.Pending(), j.Sent()...) {
		owed.add(b.Users)
	}
	booked.add(owed.users)
	booked.add(w.accepted.users)
	booked.add(w.dropped.users)
	for _, b := range j.Held() {
		booked.add(b.Users)
	}
	want := sum(Batch{Users: w.counted.users})
	if got := sum(Batch{Users: booked.users}); !reflect.DeepEqual(got, want) {
		w.t.Errorf("books = %v, counted %v", got, want)
	}
	if w.policy == Retry {
		return
	}
	owed.add(w.received.users)
	for id, got := range sum(Batch{Users: owed.users}) {
		if got[0] > want[id][0] || got[1] > want[id][1] {
			w.t.Errorf("user %d: received and still to be sent %v, counted %v", id, got, want[id])
		}
	}
}
