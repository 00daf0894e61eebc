package option

import (
	"reflect"
	"slices"
	"strings"
)

// field is one JSON member of a struct, embedded structs included.
type field struct {
	index []int  // for reflect.Value.FieldByIndex
	also  string // tag "also": a second JSON form that sing-box takes (alsoHex, alsoSeconds)
}

// Second JSON forms of a field, in the tag "also".
const (
	alsoHex     = "hex"     // an unsigned number as text: "0x1f"
	alsoSeconds = "seconds" // a duration as a whole number of seconds
)

// fieldSet is what a struct takes from an object.
type fieldSet struct {
	byName  map[string]field
	refused map[string]refusal
}

// fieldsOf collects the members of t and of the structs embedded in it.
func fieldsOf(t reflect.Type) *fieldSet {
	set := &fieldSet{byName: make(map[string]field), refused: make(map[string]refusal)}
	set.collect(t, nil)
	return set
}

func (s *fieldSet) collect(t reflect.Type, index []int) {
	for name, why := range refusals(t) {
		if _, ok := s.refused[name]; !ok { // the outer struct knows better than what it embeds
			s.refused[name] = why
		}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(slices.Clone(index), i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			s.collect(f.Type, at)
		case name != "" && name != "-":
			s.byName[name] = field{index: at, also: f.Tag.Get("also")}
		}
	}
}

// nearest returns the known name, none of them empty, that an operator most likely meant, or "".
func nearest(name string, known []string) string {
	plain := plainKey(name)
	best, bestDistance := "", 0
	for _, k := range known {
		d := 2 * distance(plain, plainKey(k))
		if name != "" && k[0] != name[0] { // uid is uuid rather than id: few slip at the first letter
			d++
		}
		if d/2 <= tolerance(plain) && (best == "" || d < bestDistance) {
			best, bestDistance = k, d
		}
	}
	if best != "" {
		return best
	}
	for _, k := range known { // cert_path is certificate_path, port is listen_port
		if abbreviates(name, k) && (best == "" || len(k) < len(best)) {
			best = k
		}
	}
	return best
}

// plainKey drops what spelling habits change: case, "_" and "-".
func plainKey(name string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(name))
}

// tolerance is how many slips of the pen a name of that length may hold.
func tolerance(name string) int {
	switch n := len(name); {
	case n <= 2:
		return 0
	case n <= 4:
		return 1
	case n <= 8:
		return 2
	default:
		return 3
	}
}

// maxNameShown bounds the work and the message for a name nobody can have meant.
const maxNameShown = 64

// distance counts insertions, deletions, replacements and swaps of neighbours between a and b
// (optimal string alignment).
func distance(a, b string) int {
	if len(a) > maxNameShown || len(b) > maxNameShown {
		return maxNameShown
	}
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// abbreviates reports whether every word of name, three letters or more, begins a word of known in
// the same order.
func abbreviates(name, known string) bool {
	words := strings.Split(known, "_")
	for _, part := range strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '_' || r == '-' }) {
		i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, part) })
		if i < 0 || len(part) < 3 {
			return false
		}
		words = words[i+1:]
	}
	return strings.Trim(name, "_-") != ""
}
