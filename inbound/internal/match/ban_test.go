package match

import (
	"testing"
	"time"
)

func TestBans(t *testing.T) {
	b := NewBans(3, time.Minute, 10*time.Minute)
	at := func(d time.Duration) time.Time { return someTime.Add(d) }
	for i, after := range []time.Duration{0, 30 * time.Second, 61 * time.Second, 62 * time.Second} {
		if b.Failed(addrOf(1), at(after)) {
			t.Errorf("failure %d bans", i)
		}
	}
	if b.Banned(addrOf(1), at(time.Minute)) {
		t.Error("banned too early")
	}
	if !b.Failed(addrOf(1), at(63*time.Second)) {
		t.Error("the third failure in a minute does not ban")
	}
	end := 63*time.Second + 10*time.Minute
	if !b.Banned(addrOf(1), at(end-1)) || b.Banned(addrOf(1), at(end)) || b.Banned(addrOf(2), at(end-1)) {
		t.Error("the wrong ones are banned, or for another time")
	}
	if b.Failed(addrOf(1), at(end)) {
		t.Error("a ban that is over counts")
	}
	if off := NewBans(0, 0, 0); off.Failed(addrOf(1), someTime) || off.Banned(addrOf(1), someTime) || new(Bans).Banned(addrOf(1), someTime) {
		t.Error("what is off bans")
	}
}

func TestBansAreBounded(t *testing.T) {
	b := NewBans(2, time.Minute, time.Minute)
	b.limit = 100
	for i := range 10_000 {
		b.Failed(addrOf(i), someTime)
		if n := len(b.now) + len(b.old); n > 200 {
			t.Fatalf("%d addresses after %d", n, i)
		}
	}
}

func TestSeen(t *testing.T) {
	s := NewSeen(12)
	for i := range 200 {
		if !s.First(number(i)) {
			t.Errorf("%d is new and was seen", i)
		}
		if s.First(number(i)) {
			t.Errorf("%d was seen and is new", i)
		}
	}
	for i := range 100_000 { // many times what it holds
		s.First(number(i))
		if s.First(number(i)) {
			t.Fatalf("%d was seen and is new", i)
		}
	}
	if n := testing.AllocsPerRun(100, func() { s.First([]byte("a salt of 16 byte")) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSeen(b *testing.B) {
	s, salt := NewSeen(20), make([]byte, 32)
	b.ReportAllocs()
	for b.Loop() {
		salt[0]++
		s.First(salt)
	}
}
