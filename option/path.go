package option

import (
	"fmt"
	"strconv"
	"strings"
)

// Path is a place in the configuration: inbounds[1].users[0].uuid. A name that is not made of
// letters, digits, "_", "-" and "$" stands in brackets and quotes: headers["X.Y"]. The root is "".
type Path string

// Key is the member name of the object at p.
func (p Path) Key(name string) Path {
	if !plainName(name) {
		return p + Path("["+strconv.Quote(name)+"]")
	}
	if p == "" {
		return Path(name)
	}
	return p + "." + Path(name)
}

// Index is element i of the list at p.
func (p Path) Index(i int) Path { return p + Path("["+strconv.Itoa(i)+"]") }

// item is element i of a list of n that may also be written without brackets: alone it goes by the
// name of the list.
func (p Path) item(i, n int) Path {
	if n == 1 {
		return p
	}
	return p.Index(i)
}

// Errorf makes a Mistake at p.
func (p Path) Errorf(format string, args ...any) error {
	return &Mistake{Path: p, Text: fmt.Errorf(format, args...)}
}

func plainName(name string) bool {
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '$':
		default:
			return false
		}
	}
	return name != ""
}

// step is one part of a path: the member name, or element index when name is empty and isIndex.
type step struct {
	name    string
	index   int
	isIndex bool
}

// steps takes p apart. It fails on a text that Key and Index cannot have made.
func (p Path) steps() ([]step, error) {
	var out []step
	for rest := string(p); rest != ""; {
		if rest[0] != '[' {
			if len(out) > 0 {
				if rest[0] != '.' {
					return nil, fmt.Errorf("path %q: no dot before %q", string(p), rest)
				}
				rest = rest[1:]
			}
			name := rest
			if end := strings.IndexAny(rest, ".["); end >= 0 {
				name = rest[:end]
			}
			if !plainName(name) {
				return nil, fmt.Errorf("path %q: bad name %q", string(p), name)
			}
			out, rest = append(out, step{name: name}), rest[len(name):]
			continue
		}
		s, length, err := bracketStep(rest)
		if err != nil {
			return nil, fmt.Errorf("path %q: %w", string(p), err)
		}
		out, rest = append(out, s), rest[length:]
	}
	return out, nil
}

// bracketStep reads [12] or ["a name"] at the start of text and returns its length.
func bracketStep(text string) (step, int, error) {
	inner := text[1:]
	if quoted, err := strconv.QuotedPrefix(inner); err == nil {
		name, err := strconv.Unquote(quoted)
		if err != nil || !strings.HasPrefix(inner[len(quoted):], "]") {
			return step{}, 0, fmt.Errorf("bad name in %q", text)
		}
		return step{name: name}, len(quoted) + 2, nil
	}
	end := strings.IndexByte(inner, ']')
	if end < 0 {
		return step{}, 0, fmt.Errorf("no closing bracket in %q", text)
	}
	index, err := strconv.Atoi(inner[:end])
	if err != nil || index < 0 {
		return step{}, 0, fmt.Errorf("bad index in %q", text)
	}
	return step{index: index, isIndex: true}, end + 2, nil
}
