package option

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Mistake is one thing wrong in a configuration.
type Mistake struct {
	Path   Path
	Text   error
	File   string // empty when the configuration came from memory
	Line   int    // from 1; 0 while unknown: Validate alone knows no lines
	Column int    // from 1, in characters

	offset int // in the joined text of all files; it orders mistakes
}

// Error is "inbounds[1].users[0].uuid (line 12:5): is required …", with the file in front when
// there is one. It never shows a credential.
func (m *Mistake) Error() string {
	var b strings.Builder
	if m.File != "" {
		b.WriteString(m.File + ": ")
	}
	switch {
	case m.Path == "" && m.Line > 0:
		fmt.Fprintf(&b, "line %d:%d: ", m.Line, m.Column)
	case m.Line > 0:
		fmt.Fprintf(&b, "%s (line %d:%d): ", m.Path, m.Line, m.Column)
	case m.Path != "":
		b.WriteString(string(m.Path) + ": ")
	}
	b.WriteString(m.Text.Error())
	return b.String()
}

// Unwrap returns the error behind the text.
func (m *Mistake) Unwrap() error { return m.Text }

// MarshalJSON writes path, line, column and message, and file when there is one.
func (m *Mistake) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		File    string `json:"file,omitempty"`
		Path    string `json:"path"`
		Line    int    `json:"line,omitempty"`
		Column  int    `json:"column,omitempty"`
		Message string `json:"message"`
	}{m.File, string(m.Path), m.Line, m.Column, m.Text.Error()})
}

// Mistakes is everything wrong in a configuration, in the order of the file. It is the error of
// Parse, Decode and Load for all that an operator can mend by editing, and never empty there.
type Mistakes []*Mistake

// Error has one line for each mistake.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i, one := range m {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns each mistake.
func (m Mistakes) Unwrap() []error {
	errs := make([]error, len(m))
	for i, one := range m {
		errs[i] = one
	}
	return errs
}

// MistakesOf takes err apart, as Validate and Parse return it. An error inside that is no Mistake
// becomes one without a path. The result of a nil error is empty.
func MistakesOf(err error) Mistakes {
	if err == nil {
		return nil
	}
	if m, ok := err.(*Mistake); ok { //nolint:errorlint // a wrapped Mistake keeps its wrapping below
		return Mistakes{m}
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // the same
		var out Mistakes
		for _, one := range many.Unwrap() {
			out = append(out, MistakesOf(one)...)
		}
		return out
	}
	if m, ok := errors.AsType[*Mistake](err); ok {
		return Mistakes{{Path: m.Path, Text: err, File: m.File, Line: m.Line, Column: m.Column, offset: m.offset}}
	}
	return Mistakes{{Text: err}}
}

// sort orders by place, and what stands at the same place by path.
func (m Mistakes) sort() {
	slices.SortStableFunc(m, func(a, b *Mistake) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.Path, b.Path))
	})
}

// report collects the mistakes of one Validate.
type report struct{ errs []error }

func (r *report) add(at Path, format string, args ...any) {
	r.errs = append(r.errs, at.Errorf(format, args...))
}

func (r *report) join(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

func (r *report) err() error { return errors.Join(r.errs...) }
