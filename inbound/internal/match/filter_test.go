package match

import (
	"encoding/binary"
	"testing"
	"time"
)

func TestFilter(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	for _, tt := range []struct {
		name  string
		after time.Duration
		fresh bool
	}{
		{"at once", 0, false},
		{"within the period", time.Minute, false},
		{"at its end", 4 * time.Minute, false},
		{"after two periods", 8*time.Minute + time.Second, true},
		{"when the clock went back", -time.Hour, false},
	} {
		f := NewFilter(4*time.Minute, 100)
		if !f.First(start, []byte("a"), []byte("b")) {
			t.Error("the first time is not the first")
		}
		if got := f.First(start.Add(tt.after), []byte("a"), []byte("b")); got != tt.fresh {
			t.Errorf("%s: fresh is %v", tt.name, got)
		}
	}
}

// Whatever the traffic in between, nothing is forgotten within the period.
func TestFilterKeepsItsPeriod(t *testing.T) {
	const period = 240
	f := NewFilter(period*time.Second, 1<<20)
	start := time.Unix(1_700_000_000, 0)
	for sec := range 1000 {
		now := start.Add(time.Duration(sec) * time.Second)
		if !f.First(now, number(sec)) {
			t.Fatalf("%d s: a new thing is old", sec)
		}
		for back := 0; back <= period && back <= sec; back += 40 {
			if !f.Has(now, number(sec-back)) {
				t.Fatalf("%d s: forgot what it saw %d s ago", sec, back)
			}
		}
	}
}

func number(n int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func TestFilterIsBounded(t *testing.T) {
	f := NewFilter(time.Hour, 100)
	now := time.Unix(1_700_000_000, 0)
	for i := range 10_000 {
		f.First(now, number(i))
		if n := len(f.now) + len(f.old); n > 200 {
			t.Fatalf("%d things after %d", n, i)
		}
	}
	if !f.Has(now, number(9_950)) {
		t.Error("forgot one of the last hundred")
	}
}
