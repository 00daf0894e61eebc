package option

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/tailscale/hujson"
)

// maxDepth bounds nesting: the tree is walked by recursion, and no configuration needs a tenth of it.
const maxDepth = 64

// expect is what may come next in the text.
type expect int

const (
	expectValue      expect = iota // after ":" and at the start
	expectValueOrEnd               // after "[" and after a list's ","
	expectNameOrEnd                // after "{" and after an object's ","
	expectColon
	expectCommaOrEnd
	expectNothing // after the one value of the file
)

// open is an object or list that is not closed yet.
type open struct {
	bracket byte // { or [
	offset  int
	name    string // of the member being read
	index   int    // of the element being read
}

// scanner finds the first syntax error of JSON with comments and trailing commas. The tree comes from
// hujson; this says in an operator's words why it cannot be built, and bounds its depth first.
type scanner struct {
	text []byte
	pos  int
	next expect
	in   []open
	src  *source
}

// checkSyntax returns nil when hujson will accept text. Offsets of the mistake start at src.base.
func checkSyntax(src *source) *Mistake {
	s := &scanner{text: src.text, src: src}
	if i := invalidUTF8(s.text); i >= 0 {
		s.pos = i
		return s.fail("byte 0x%02x is not UTF-8 text; save the file as UTF-8", s.text[i])
	}
	for {
		if m := s.skipExtra(); m != nil {
			return m
		}
		if s.pos == len(s.text) {
			return s.end()
		}
		if m := s.token(); m != nil {
			return m
		}
	}
}

func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

func (s *scanner) fail(format string, args ...any) *Mistake { return s.failAt(s.pos, format, args...) }

func (s *scanner) failAt(offset int, format string, args ...any) *Mistake {
	var at Path
	for _, o := range s.in {
		switch {
		case o.bracket == '[':
			at = at.Index(o.index)
		case o.name != "":
			at = at.Key(o.name)
		}
	}
	m := &Mistake{Path: at, Text: fmt.Errorf(format, args...)}
	sources{s.src}.place(m, s.src.base+offset)
	return m
}

// skipExtra passes white space and comments.
func (s *scanner) skipExtra() *Mistake {
	for s.pos < len(s.text) {
		rest := s.text[s.pos:]
		switch {
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r' || rest[0] == '\n':
			s.pos++
		case bytes.HasPrefix(rest, []byte("//")):
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest) - 1
			}
			if i := bytes.IndexAny(rest[:end], "\u2028\u2029"); i >= 0 {
				s.pos += i
				return s.fail("the line separator U+2028 or U+2029 stands in a comment; take it out")
			}
			s.pos += end + 1
		case bytes.HasPrefix(rest, []byte("/*")):
			end := bytes.Index(rest[2:], []byte("*/"))
			if end < 0 {
				return s.fail("the comment that starts here has no end: */ is missing")
			}
			s.pos += end + 4
		default:
			return nil
		}
	}
	return nil
}

// end judges the end of the text: nil when everything is closed.
func (s *scanner) end() *Mistake {
	if s.next == expectNothing {
		return nil
	}
	if len(s.in) == 0 {
		return s.fail("the file is empty, must hold an object: { … }")
	}
	last := s.in[len(s.in)-1]
	_, line, column := sources{s.src}.locate(s.src.base + last.offset)
	return s.fail("the file ends here, but the %q of line %d:%d is not closed: %q is missing",
		string(last.bracket), line, column, closing(last.bracket))
}

func closing(bracket byte) string {
	if bracket == '{' {
		return "}"
	}
	return "]"
}

// token reads one token and decides what may follow.
func (s *scanner) token() *Mistake {
	c := s.text[s.pos]
	if why := s.strange(); why != "" {
		return s.fail("found %s", why)
	}
	switch s.next {
	case expectNothing:
		return s.fail("found %s after the end of the configuration; the file holds one object", s.found())
	case expectColon:
		if c != ':' {
			return s.fail("found %s, expected %q after the name %q", s.found(), ":", s.top().name)
		}
		s.pos++
		s.next = expectValue
		return nil
	case expectCommaOrEnd:
		return s.commaOrEnd(c)
	case expectNameOrEnd:
		return s.nameOrEnd(c)
	default:
		if c == ']' && s.next == expectValueOrEnd {
			s.close()
			return nil
		}
		return s.value(c)
	}
}

func (s *scanner) top() *open { return &s.in[len(s.in)-1] }

// close leaves the innermost object or list at its bracket.
func (s *scanner) close() {
	s.pos++
	s.in = s.in[:len(s.in)-1]
	s.afterValue()
}

func (s *scanner) afterValue() {
	s.next = expectCommaOrEnd
	if len(s.in) == 0 {
		s.next = expectNothing
	}
}

func (s *scanner) commaOrEnd(c byte) *Mistake {
	top := s.top()
	end := closing(top.bracket)
	switch {
	case c == ',':
		s.pos++
		s.next = expectNameOrEnd
		top.name = ""
		if top.bracket == '[' {
			top.index++
			s.next = expectValueOrEnd
		}
		return nil
	case string(c) == end:
		s.close()
		return nil
	case c == '}' || c == ']':
		_, line, column := sources{s.src}.locate(s.src.base + top.offset)
		return s.fail("found %s, but the %q of line %d:%d is still open: expected %q",
			s.found(), string(top.bracket), line, column, end)
	case c == ':':
		return s.fail("found %s, expected \",\" or %q after a value", s.found(), end)
	default:
		return s.fail("found %s, expected \",\" or %q: is a comma missing before it?", s.found(), end)
	}
}

func (s *scanner) nameOrEnd(c byte) *Mistake {
	switch {
	case c == '}':
		s.close()
		return nil
	case c == '"':
		start := s.pos
		if m := s.str(); m != nil {
			return m
		}
		s.top().name = textOf(&hujson.Value{Value: hujson.Literal(s.text[start:s.pos])})
		s.next = expectColon
		return nil
	case c == ',':
		return s.fail("found %s, expected a name in double quotes or \"}\": one comma too many?", s.found())
	case c == '_' || unicode.IsLetter(rune(c)) && c < utf8.RuneSelf:
		return s.fail("found a name without quotes, write %q", short(s.word()))
	default:
		return s.fail("found %s, expected a name in double quotes or \"}\"", s.found())
	}
}

func (s *scanner) value(c byte) *Mistake {
	switch {
	case c == '{' || c == '[':
		if len(s.in) == maxDepth {
			return s.fail("is nested deeper than %d levels", maxDepth)
		}
		s.in = append(s.in, open{bracket: c, offset: s.pos})
		s.pos++
		s.next = expectNameOrEnd
		if c == '[' {
			s.next = expectValueOrEnd
		}
		return nil
	case c == '"':
		if m := s.str(); m != nil {
			return m
		}
		s.afterValue()
		return nil
	}
	word := s.word()
	switch {
	case word == "" && c == ',':
		return s.fail("found %s, expected a value: one comma too many?", s.found())
	case word == "":
		return s.fail("found %s, expected a value", s.found())
	case !json.Valid([]byte(word)):
		return s.fail("found %s", wordHint(word))
	}
	s.pos += len(word)
	s.afterValue()
	return nil
}
