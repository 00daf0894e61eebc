package match

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"
)

const testMark = "heki test sources 1\n"

var someTime = time.Unix(1_700_000_000, 0)

func usersOf(s *Sources, addr string, now time.Time) []UserID {
	var users [SourceUsers]UserID
	return slices.Clone(users[:s.Lookup(netip.MustParseAddr(addr), now, &users)])
}

func TestSources(t *testing.T) {
	s := NewSources(testMark)
	for user := range UserID(10) {
		s.Note(netip.MustParseAddr("192.0.2.1"), user+1, someTime)
	}
	s.Note(netip.MustParseAddr("192.0.2.1"), 5, someTime)
	s.Note(netip.MustParseAddr("2001:db8:0:1::1"), 77, someTime)
	for _, tt := range []struct {
		addr  string
		after time.Duration
		want  []UserID
	}{
		{"192.0.2.1", 0, []UserID{5, 10, 9, 8, 7, 6, 4, 3}},
		{"::ffff:192.0.2.1", 24 * time.Hour, []UserID{5, 10, 9, 8, 7, 6, 4, 3}},
		{"192.0.2.1", 24*time.Hour + time.Second, nil},
		{"192.0.2.2", 0, nil},
		{"2001:db8:0:1:ffff::2", 0, []UserID{77}},
		{"2001:db8:0:2::1", 0, nil},
	} {
		if got := usersOf(s, tt.addr, someTime.Add(tt.after)); !slices.Equal(got, tt.want) {
			t.Errorf("%s after %s: %v, want %v", tt.addr, tt.after, got, tt.want)
		}
	}
	s.Note(netip.Addr{}, 1, someTime)
	if n := s.Lookup(netip.Addr{}, someTime, new([SourceUsers]UserID)); n != 0 {
		t.Errorf("no address has %d users", n)
	}
}

func addrOf(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func TestSourcesAreBounded(t *testing.T) {
	s := NewSources(testMark)
	s.limit = 100
	for i := range 10_000 {
		s.Note(addrOf(i), UserID(i), someTime)
		s.Note(addrOf(0), 1, someTime) // comes all the time
		if n := len(s.now) + len(s.old); n > 200 {
			t.Fatalf("%d addresses after %d", n, i)
		}
	}
	if got := usersOf(s, "10.0.0.0", someTime); len(got) == 0 {
		t.Error("forgot who comes all the time")
	}
}

func TestExportImport(t *testing.T) {
	s := NewSources(testMark)
	s.limit = 100
	for i := range 150 { // some in each half
		s.Note(addrOf(i), UserID(i+1), someTime)
	}
	s.Note(addrOf(3), 1000, someTime)
	file := s.Export()
	again := NewSources(testMark)
	again.Note(addrOf(149), 9, someTime) // newer than the file
	if err := again.Import(file, someTime.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := usersOf(again, addrOf(3).String(), someTime); !slices.Equal(got, []UserID{1000, 4}) {
		t.Errorf("%v", got)
	}
	if got := usersOf(again, addrOf(149).String(), someTime); !slices.Equal(got, []UserID{9}) {
		t.Errorf("an older entry replaced a newer one: %v", got)
	}
	if len(again.now) != 150 {
		t.Errorf("%d addresses, want 150", len(again.now))
	}
	late := NewSources(testMark)
	if err := late.Import(file, someTime.Add(25*time.Hour)); err != nil || len(late.now) != 0 {
		t.Errorf("%d expired addresses, %v", len(late.now), err)
	}
	entry := file[:len(testMark)+sourceFront+8]
	for i := range entry {
		if i == len(testMark) {
			continue // no entries
		}
		if err := NewSources(testMark).Import(entry[:i], someTime); !errors.Is(err, errSources) {
			t.Errorf("%d bytes of a file: %v", i, err)
		}
	}
}

func FuzzImport(f *testing.F) {
	s := NewSources(testMark)
	s.Note(addrOf(1), 2, someTime)
	f.Add(s.Export())
	f.Fuzz(func(t *testing.T, in []byte) {
		one, two := NewSources(testMark), NewSources(testMark)
		if one.Import(in, someTime) != nil {
			if len(one.now) > 0 {
				t.Error("a bad file left something")
			}
			return
		}
		if err := two.Import(one.Export(), someTime); err != nil || !reflect.DeepEqual(one.now, two.now) {
			t.Errorf("not the same again: %v", err)
		}
	})
}
