package option

import (
	"bytes"
	"slices"
	"sort"
	"unicode/utf8"

	"github.com/tailscale/hujson"
)

// source is one file. Its offsets start at base, so that an offset alone names file and place when
// the files of a directory are merged into one tree.
type source struct {
	name  string
	base  int
	text  []byte
	lines []int // offset of each line's first byte, without base
}

func newSource(name string, base int, text []byte) *source {
	s := &source{name: name, base: base, text: text, lines: []int{0}}
	for i, c := range text {
		if c == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// sources are the files of one configuration in the order of their bases.
type sources []*source

// locate says in which file and where offset is: line and column count from 1, columns in
// characters. No sources is no place.
func (s sources) locate(offset int) (file string, line, column int) {
	if len(s) == 0 {
		return "", 0, 0
	}
	i := sort.Search(len(s), func(i int) bool { return s[i].base > offset }) - 1
	from := s[max(i, 0)]
	offset = min(max(offset-from.base, 0), len(from.text))
	line, exact := slices.BinarySearch(from.lines, offset)
	if !exact {
		line--
	}
	start := from.lines[line]
	return from.name, line + 1, 1 + utf8.RuneCount(from.text[start:offset])
}

// place fills file, line and column of m.
func (s sources) place(m *Mistake, offset int) {
	m.offset = offset
	m.File, m.Line, m.Column = s.locate(offset)
}

// find returns the value at p below root, or the nearest parent that is there.
func find(root *hujson.Value, p Path) *hujson.Value {
	steps, err := p.steps()
	if err != nil {
		return root
	}
	for _, s := range steps {
		next := child(root, s)
		if next == nil {
			break
		}
		root = next
	}
	return root
}

func child(v *hujson.Value, s step) *hujson.Value {
	switch in := v.Value.(type) {
	case *hujson.Array:
		if s.isIndex && s.index < len(in.Elements) {
			return &in.Elements[s.index]
		}
	case *hujson.Object:
		if !s.isIndex {
			return member(in, s.name)
		}
	}
	return nil
}

// member returns the first value with that name.
func member(o *hujson.Object, name string) *hujson.Value {
	for i := range o.Members {
		if nameIs(&o.Members[i].Name, name) {
			return &o.Members[i].Value
		}
	}
	return nil
}

// nameIs compares without making a string of an ordinary name.
func nameIs(v *hujson.Value, name string) bool {
	lit, _ := v.Value.(hujson.Literal)
	if bytes.IndexByte(lit, '\\') >= 0 {
		return lit.String() == name
	}
	return len(lit) >= 2 && string(lit[1:len(lit)-1]) == name
}

// textOf is the text of a JSON string.
func textOf(v *hujson.Value) string {
	lit, _ := v.Value.(hujson.Literal)
	if len(lit) < 2 || lit[0] != '"' || bytes.IndexByte(lit, '\\') >= 0 {
		return lit.String()
	}
	return string(lit[1 : len(lit)-1])
}
