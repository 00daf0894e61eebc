package meter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDecisions: a person outside the process resends one held batch and discards another.
func TestDecisions(t *testing.T) {
	state := filepath.Join(t.TempDir(), "odd [*]")
	n := NewLedger().Node("panel/main/1", "main")
	o, err := OpenOutbox(Dir(state, n.Tag()), n)
	if err != nil {
		t.Fatal(err)
	}
	hold := func(id, up int64) string {
		o.count(t, id, up)
		b, ok, err := o.Next(Portion{})
		if err != nil || !ok || b.Bytes() != up {
			t.Fatalf("%+v, %t, %v", b, ok, err)
		}
		if err := o.Done(b, ambiguousHold); err != nil {
			t.Fatal(err)
		}
		return b.ID
	}
	first, second := hold(1, 10), hold(2, 20)
	hold(3, 30)
	all, err := ReadBacklogs(state)
	if err != nil || len(all) != 1 || all[0].Node != "panel/main/1" || len(all[0].Held) != 3 || all[0].Held[1].Bytes() != 20 {
		t.Fatalf("%+v, %v", all, err)
	}
	decide := func(id string, d Decision, want ...int64) {
		t.Helper()
		if err := Decide(state, "panel/main/1", id, d); err != nil {
			t.Fatal(err)
		}
		done, err := o.Decisions()
		if err != nil || len(done) != len(want) {
			t.Fatalf("%+v, %v, want %d", done, err, len(want))
		}
		for i, b := range done {
			if b.Bytes() != want[i] || b.Decision != d {
				t.Errorf("%+v, want %d bytes", b, want[i])
			}
		}
	}
	decide(first, Resend, 10)
	o.wantLeft(t, 10, 50)
	decide(second, Discard, 20)
	o.wantLeft(t, 10, 30)
	decide(first, Resend) // decided already
	decide("", Resend, 30)
	o.wantLeft(t, 40, 0)
	if done, err := o.Decisions(); err != nil || len(done) != 0 {
		t.Errorf("a second time: %+v, %v", done, err)
	}
	if err := os.WriteFile(filepath.Join(Dir(state, n.Tag()), "decide-x"), []byte("perhaps"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Decisions(); err == nil || !strings.Contains(err.Error(), "neither resend nor discard") {
		t.Errorf("err = %v", err)
	}
	if _, err := o.Decisions(); err != nil {
		t.Errorf("said twice: %v", err)
	}
	if err := Decide(state, "panel/main/1", "../x", Resend); err == nil {
		t.Error("a path was taken for an id")
	}
	if err := Decide(state, "panel/other/1", "", Resend); err == nil {
		t.Error("a node without a journal was decided about")
	}
}
