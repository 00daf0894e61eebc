//go:build !race

package rule

import "testing"

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
