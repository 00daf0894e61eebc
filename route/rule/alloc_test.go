//go:build !race

package rule

import "testing"

func TestGeoAllocs(t *testing.T) {
	set, err := Compile([]string{"geosite:short", "geoip:cn", "geoip:!private"}, newLists(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, md := range geoSubjects() {
		if n := testing.AllocsPerRun(100, func() { set.Match(md); set.MatchRule(md) }); n != 0 {
			t.Errorf("%s: match allocates %v times", name, n)
		}
	}
	long, err := Compile([]string{"geosite:long"}, newLists(t))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { long.Match(to("www.google.com 1")) }); n > 4 { // two are to's
		t.Errorf("a long list allocates %v times", n)
	}
}

// The race detector makes sync.Pool drop what it is given, so this runs without it.
func TestMatchAllocs(t *testing.T) {
	set, err := Compile(append(mixedLines(500), "regexp:.*[0-9]zz"), nil)
	if err != nil {
		t.Fatal(err)
	}
	table := benchTable(t)
	for name, md := range subjects() {
		if n := testing.AllocsPerRun(100, func() { set.Match(md); set.MatchRule(md) }); n != 0 {
			t.Errorf("%s: match allocates %v times", name, n)
		}
		if n := testing.AllocsPerRun(100, func() { table.Decide(md); table.Blocked(md); table.NeedsSniff(md) }); n != 0 {
			t.Errorf("%s: decide allocates %v times", name, n)
		}
	}
}
