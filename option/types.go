package option

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a Go duration string in JSON: "60s". Whole days may stand in front: "1d12h".
type Duration time.Duration

// String is the shortest form: "1m", not "1m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalJSON writes the string form.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the string form. Parse does not use it: it knows the line as well.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf(`must be a duration such as "60s": %w`, err)
	}
	parsed, err := parseDuration(s)
	if err != nil {
		return err
	}
	*d = Duration(parsed)
	return nil
}

// parseDuration reads what time.ParseDuration reads and whole days in front of it, as sing-box does.
func parseDuration(s string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(s, 64); err == nil && s != "0" {
		return 0, fmt.Errorf("is %q, a duration needs a unit: write %q", s, s+"s")
	}
	rest, days := s, time.Duration(0)
	if front, back, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(front, 10, 32)
		if err != nil || n > uint64(math.MaxInt64/(24*time.Hour)) {
			return 0, fmt.Errorf(`is %q, must be a duration such as "60s", "5m" or "2h"`, s)
		}
		rest, days = back, time.Duration(n)*24*time.Hour
		if rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || days > math.MaxInt64-max(d, 0) || days > 0 && d < 0 {
		return 0, fmt.Errorf(`is %q, must be a duration such as "60s", "5m" or "2h"`, s)
	}
	return days + d, nil
}

// Listable accepts one value or a list of them.
type Listable[T any] []T

// isListable tells the decoder that a single value is welcome too.
func (Listable[T]) isListable() {}

// MarshalJSON writes a single value without brackets.
func (l Listable[T]) MarshalJSON() ([]byte, error) {
	if len(l) == 1 {
		return json.Marshal(l[0])
	}
	return json.Marshal([]T(l))
}

// UnmarshalJSON reads either form. Parse does not use it: it knows the line as well.
func (l *Listable[T]) UnmarshalJSON(b []byte) error {
	var many []T
	errMany := json.Unmarshal(b, &many)
	if errMany == nil {
		*l = many
		return nil
	}
	var one T
	if err := json.Unmarshal(b, &one); err != nil {
		return errors.Join(err, errMany)
	}
	*l = Listable[T]{one}
	return nil
}

// MarshalJSON writes type, tag and the options in one object.
func (i Inbound) MarshalJSON() ([]byte, error) { return marshalEntry(i.Type, i.Tag, i.Options) }

// MarshalJSON writes type, tag and the options in one object.
func (o Outbound) MarshalJSON() ([]byte, error) { return marshalEntry(o.Type, o.Tag, o.Options) }

func marshalEntry(typ, tag string, options any) ([]byte, error) {
	head, err := json.Marshal(struct {
		Type string `json:"type"`
		Tag  string `json:"tag,omitempty"`
	}{typ, tag})
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", typ, tag, err)
	}
	if len(body) <= 2 || body[0] != '{' { // {} or null
		return head, nil
	}
	head[len(head)-1] = ','
	return append(head, body[1:]...), nil
}

// MbpsToBytes turns the Mbit/s of a configuration or a panel into bytes per second. It is the one
// place that does. Nothing, less than nothing and not-a-number are 0, unlimited; a limit that is
// there never becomes 0.
func MbpsToBytes(mbps float64) int64 {
	switch bytes := mbps * 125_000; {
	case !(bytes > 0):
		return 0
	case bytes >= math.MaxInt64:
		return math.MaxInt64
	default:
		return max(1, int64(math.Round(bytes)))
	}
}
