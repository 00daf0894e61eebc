package panel

import (
	"errors"
	"fmt"
	"time"

	"heki/internal/meter"
)

// ErrNotModified is returned by Node and Users when the answer is that of the last call.
var ErrNotModified = errors.New("not modified")

// Class says how far a failed call came.
type Class int

const (
	// Unreachable: the call never reached the panel (refused, DNS, TLS, or the request was not
	// sent whole).
	Unreachable Class = iota + 1
	// Refused: the panel answered that it did not do it (3xx, 4xx, a failure body).
	Refused
	// Unclear: the request left and nobody knows whether the panel acted on it (timeout,
	// connection cut, 5xx, an answer that cannot be read).
	Unclear
)

func (c Class) String() string {
	switch c {
	case Unreachable:
		return "unreachable"
	case Refused:
		return "refused"
	case Unclear:
		return "unclear"
	}
	return "unknown"
}

// Error is a failed call to a panel.
type Error struct {
	Call   string        // "get settings", "get users", "report traffic", "report online"
	Class  Class         // how far it came
	Status int           // of the HTTP answer; 0 when there was none
	After  time.Duration // Retry-After; 0 when the panel named none
	Said   string        // the panel's own words, without credentials; "" when it said nothing
	Err    error         // cause; without credentials
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Call, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// classOf is the class of err, or 0 when the panel answered and its data is what is wrong.
func classOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return 0
}

// retryAfter is what the panel asked for, or 0.
func retryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.After
	}
	return 0
}

// StatusOf is the HTTP status of the answer that err is about, or 0.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// SaidIn is what the panel said in a call that failed, or "".
func SaidIn(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Said
	}
	return ""
}

// Settle is what the outcome of a ReportTraffic call means for its bytes.
func Settle(err error, ambiguous meter.Policy) meter.Outcome {
	if err == nil {
		return meter.Accepted
	}
	switch classOf(err) {
	case Unreachable, Refused:
		return meter.Refused
	default: // an error without a class is a client's bug: assume the worst
		return meter.Ambiguous(ambiguous)
	}
}
