package meter

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"heki/adapter"
)

// newOutbox opens an outbox over a fresh node, as a new process would.
func newOutbox(t *testing.T, dir string) *Outbox {
	t.Helper()
	o, err := OpenOutbox(dir, newTestNode())
	if err != nil {
		t.Fatalf("OpenOutbox: %v", err)
	}
	return o
}

// count moves up bytes of user id.
func (o *Outbox) count(t *testing.T, id, up int64) {
	t.Helper()
	l := open(t, o.node.Meter(adapter.Account{ID: id}), home, nil)
	l.Up(up)
	l.Close()
}

// next is Next that must succeed and return want bytes up of user 1; want 0 is no batch.
func (o *Outbox) next(t *testing.T, minBytes, want int64) Batch {
	t.Helper()
	b, ok, err := o.Next(Portion{MinBytes: minBytes})
	if err != nil || ok != (want != 0) || sum(b)[1][0] != want {
		t.Fatalf("Next(%d) = %+v, %v, %v, want %d bytes of user 1", minBytes, b, ok, err, want)
	}
	return b
}

// wantLeft checks backlog and held bytes.
func (o *Outbox) wantLeft(t *testing.T, backlog, held int64) {
	t.Helper()
	if _, got := o.Backlog(); got != backlog {
		t.Errorf("backlog = %d bytes, want %d", got, backlog)
	}
	if _, got := o.HeldBytes(); got != held {
		t.Errorf("held = %d bytes, want %d", got, held)
	}
}

func TestOutboxOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name          string
		outcome       Outcome
		backlog, held int64
	}{
		{"accepted", Accepted, 0, 0},
		{"refused", Refused, 5, 0},
		{"hold", Ambiguous(Hold), 0, 5},
		{"retry", Ambiguous(Retry), 5, 0},
		{"drop", Ambiguous(Drop), 0, 0},
		{"zero value", Outcome(0), 0, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			o := newOutbox(t, dir)
			o.count(t, 1, 5)
			b := o.next(t, 0, 5)
			if users, bytes := o.Backlog(); users != 1 || bytes != 5 {
				t.Errorf("in flight: backlog = %d users, %d bytes", users, bytes)
			}
			if _, _, err := o.Next(Portion{MinBytes: 0}); !errors.Is(err, ErrInFlight) {
				t.Errorf("a second Next = %v, want ErrInFlight", err)
			}
			if err := o.Done(b, tt.outcome); err != nil {
				t.Fatal(err)
			}
			if err := o.Done(b, tt.outcome); err == nil {
				t.Error("a second Done passed")
			}
			o.wantLeft(t, tt.backlog, tt.held)
			newOutbox(t, dir).wantLeft(t, tt.backlog, tt.held)
			o.count(t, 1, 100)
			o.next(t, 0, 100+tt.backlog)
		})
	}
}

func TestOutboxThreshold(t *testing.T) {
	o := newOutbox(t, t.TempDir())
	o.count(t, 1, 30)
	o.count(t, 2, 50)
	b, ok, err := o.Next(Portion{MinBytes: 40})
	if err != nil || !ok || len(b.Users) != 1 || b.Users[0].ID != 2 {
		t.Fatalf("Next(40) = %+v, %v, %v", b, ok, err)
	}
	if err := o.Done(b, Accepted); err != nil {
		t.Fatal(err)
	}
	o.next(t, 40, 0)
	o.count(t, 1, 30) // what stayed below grows over it
	if err := o.Done(o.next(t, 40, 60), Accepted); err != nil {
		t.Fatal(err)
	}
	for id := range int64(5) {
		o.count(t, id+1, 1)
	}
	for _, want := range []int{2, 2, 1, 0} {
		b, ok, err := o.Next(Portion{Limit: 2})
		if err != nil || len(b.Users) != want || ok != (want > 0) {
			t.Fatalf("Next = %+v, %v, %v, want %d users", b, ok, err, want)
		}
		if ok {
			if err := o.Done(b, Accepted); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestOutboxRestart(t *testing.T) {
	for _, tt := range []struct {
		name          string
		policy        Policy
		backlog, held int64
	}{
		{"hold", Hold, 0, 5},
		{"retry", Retry, 5, 0},
		{"drop", Drop, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			old := newOutbox(t, dir)
			old.count(t, 1, 5)
			flight := old.next(t, 0, 5)
			o := newOutbox(t, dir)
			o.wantLeft(t, 5, 0)
			got, err := o.Recover(tt.policy)
			if err != nil || len(got) != 1 || got[0].ID != flight.ID {
				t.Fatalf("Recover = %+v, %v", got, err)
			}
			o.wantLeft(t, tt.backlog, tt.held)
			if got, _ := o.Recover(Drop); len(got) != 0 {
				t.Error("recovered twice")
			}
			o.next(t, 0, tt.backlog)
		})
	}
	t.Run("forgotten", func(t *testing.T) { // nobody called Recover: held
		dir := t.TempDir()
		old := newOutbox(t, dir)
		old.count(t, 1, 5)
		old.next(t, 0, 5)
		o := newOutbox(t, dir)
		o.count(t, 1, 7)
		o.next(t, 0, 7)
		o.wantLeft(t, 7, 5)
	})
}

func TestOutboxHeld(t *testing.T) {
	o := newOutbox(t, t.TempDir())
	var ids []string
	for i := range int64(2) {
		o.count(t, 1, 10+i)
		b := o.next(t, 0, 10+i)
		if err := o.Done(b, Ambiguous(Hold)); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, b.ID)
	}
	if n, bytes := o.HeldBytes(); n != 2 || bytes != 21 || len(o.Held()) != 2 {
		t.Errorf("held = %d batches, %d bytes", n, bytes)
	}
	if err := errors.Join(o.Release(ids[0]), o.Discard(ids[1])); err != nil {
		t.Fatal(err)
	}
	if err := o.Discard(o.journal.Pending()[0].ID); err == nil {
		t.Error("discarded what is not held")
	}
	o.wantLeft(t, 10, 0)
}

// TestOutboxQuiet checks that nothing new writes nothing.
func TestOutboxQuiet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "node")
	o := newOutbox(t, dir)
	writes := 0
	o.journal.step = func(string) error { writes++; return nil }
	quiet := func() {
		t.Helper()
		writes = 0
		for range 3 {
			if err := o.Checkpoint(); err != nil {
				t.Fatal(err)
			}
			o.next(t, 1000, 0)
		}
		if writes != 0 {
			t.Errorf("%d file operations with nothing new", writes)
		}
	}
	o.node.Meter(adapter.Account{ID: 1})
	quiet()
	if _, err := os.Stat(dir); err == nil {
		t.Error("made a directory for nothing")
	}
	o.count(t, 1, 5)
	if err := o.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	quiet()
}

// TestOutboxDiskFull fails every write: bytes stay, nothing is sent, and all is well afterwards.
func TestOutboxDiskFull(t *testing.T) {
	dir := t.TempDir()
	o := newOutbox(t, dir)
	full := errors.New("no space left on device")
	for _, op := range []string{"write", "rename", "sync"} {
		o.journal.step = func(at string) error {
			if at == op {
				return full
			}
			return nil
		}
		o.count(t, 1, 5)
		if err := o.Checkpoint(); !errors.Is(err, full) {
			t.Errorf("%s: Checkpoint = %v, want %v", op, err, full)
		}
		o.count(t, 1, 5)
		if _, ok, err := o.Next(Portion{MinBytes: 0}); ok || !errors.Is(err, full) {
			t.Errorf("%s: Next = %v, %v, want %v", op, ok, err, full)
		}
	}
	o.wantLeft(t, 30, 0)
	o.journal.step = nil
	b := o.next(t, 0, 30)
	o.journal.step = func(string) error { return full }
	if err := o.Done(b, Accepted); !errors.Is(err, full) {
		t.Errorf("Done = %v, want %v", err, full)
	}
	o.wantLeft(t, 0, 0)
	newOutbox(t, dir).wantLeft(t, 30, 0) // a crash now: still in flight, hence ambiguous
	o.journal.step = nil
	if err := o.Checkpoint(); err != nil { // nothing to take, but the disk has to learn
		t.Fatal(err)
	}
	newOutbox(t, dir).wantLeft(t, 0, 0)
}

func TestPolicy(t *testing.T) {
	for _, p := range []Policy{Hold, Retry, Drop} {
		if got, err := ParsePolicy(p.String()); got != p || err != nil {
			t.Errorf("ParsePolicy(%q) = %v, %v", p, got, err)
		}
	}
	if p, err := ParsePolicy(""); p != Hold || err != nil {
		t.Errorf("the default is %v, %v, want hold", p, err)
	}
	if _, err := ParsePolicy("maybe"); err == nil {
		t.Error("accepted a policy that is none")
	}
}

func TestNewID(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		id := newID(time.Unix(1763837083, 0))
		if seen[id] || checkID(id) != nil {
			t.Fatalf("id %q repeats or is not valid", id)
		}
		seen[id] = true
	}
}
