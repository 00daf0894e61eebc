package option

import (
	"fmt"
	"strconv"
)

// Path is a place in the configuration: inbounds[1].users[0].uuid.
type Path string

// Key is the member name of the object at p.
func (p Path) Key(name string) Path {
	if p == "" {
		return Path(name)
	}
	return p + "." + Path(name)
}

// Index is element i of the list at p.
func (p Path) Index(i int) Path { return p + Path("["+strconv.Itoa(i)+"]") }

// Errorf makes a Mistake at p.
func (p Path) Errorf(format string, args ...any) error {
	return &Mistake{Path: p, Text: fmt.Errorf(format, args...)}
}

// Mistake is one thing wrong in a configuration.
type Mistake struct {
	Path Path
	Text error
}

func (m *Mistake) Error() string { return string(m.Path) + ": " + m.Text.Error() }

// Unwrap returns the error behind the text.
func (m *Mistake) Unwrap() error { return m.Text }
