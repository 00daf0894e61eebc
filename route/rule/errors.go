package rule

import (
	"strconv"
	"strings"
)

// LineError is one bad rule line and what would be right.
type LineError struct {
	Index int    // in the list given to Compile
	Line  string // as written
	Text  error
}

func (e *LineError) Error() string {
	return "line " + strconv.Itoa(e.Index+1) + ": " + strconv.Quote(clip(e.Line)) + " " + e.Text.Error()
}

// Unwrap returns the error behind the text.
func (e *LineError) Unwrap() error { return e.Text }

// Errors is every bad line of a list, in its order.
type Errors []*LineError

func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i, line := range e {
		texts[i] = line.Error()
	}
	return strings.Join(texts, "\n")
}

// Unwrap lets errors.As find a LineError.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, line := range e {
		list[i] = line
	}
	return list
}

// clip shortens a line for a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
