package log

import (
	"encoding"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// textTime is the time at the start of a line, in local time.
const textTime = "2006-01-02 15:04:05"

// maxPooled keeps the buffer of one huge line, a stack for example, out of the pool.
const maxPooled = 16 << 10

var buffers = sync.Pool{New: func() any { return new(make([]byte, 0, 1<<10)) }}

func takeBuffer() *[]byte {
	b, _ := buffers.Get().(*[]byte)
	return b
}

func giveBuffer(b *[]byte) {
	if cap(*b) <= maxPooled {
		buffers.Put(b)
	}
}

// textState is what the derived loggers put into every line: rendered attributes and open groups.
type textState struct {
	attrs string // " key=value …"
	group string // "a.b."
}

func (t textState) withAttrs(attrs []slog.Attr) textState {
	b := []byte(t.attrs)
	for _, a := range attrs {
		b = appendAttr(b, t.group, a)
	}
	t.attrs = string(b)
	return t
}

func (t textState) withGroup(name string) textState {
	t.group += name + "."
	return t
}

// appendRecord renders r as one line, such as
//
//	2026-11-22 15:04:05 WARN  panel does not answer panel=main node=12
//
// and returns where the part behind the time starts.
func (t textState) appendRecord(b []byte, r slog.Record) (line []byte, body int) {
	at := r.Time
	if at.IsZero() {
		at = time.Now()
	}
	b = append(at.AppendFormat(b, textTime), ' ')
	body = len(b)
	name := r.Level.String()
	b = append(b, name...)
	for range max(0, len("ERROR")-len(name)) {
		b = append(b, ' ')
	}
	b = append(b, ' ')
	b = appendMessage(b, r.Message)
	b = append(b, t.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		b = appendAttr(b, t.group, a)
		return true
	})
	return append(b, '\n'), body
}

// appendAttr renders one attribute, or each of a group. An attribute without a value, such as the nil
// error of a connection that ended well, is left out.
func appendAttr(b []byte, group string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, member := range v.Group() {
			b = appendAttr(b, group, member)
		}
		return b
	}
	if a.Key == "" || v.Kind() == slog.KindAny && v.Any() == nil {
		return b
	}
	b = append(b, ' ')
	b = appendWord(b, group+a.Key)
	b = append(b, '=')
	return appendValue(b, v)
}

func appendValue(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindString:
		return appendWord(b, v.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10)
	case slog.KindFloat64:
		return strconv.AppendFloat(b, v.Float64(), 'g', -1, 64)
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindDuration:
		return append(b, v.Duration().String()...)
	case slog.KindTime:
		return v.Time().AppendFormat(b, time.RFC3339)
	}
	return appendWord(b, wordOf(v.Any()))
}

// wordOf is the text of a value of any type. A String method that panics, on a nil pointer for
// example, must not take the program down with it.
func wordOf(v any) (text string) {
	defer func() {
		if cause := recover(); cause != nil {
			text = fmt.Sprintf("!panic in %T: %v", v, cause)
		}
	}()
	switch v := v.(type) {
	case error:
		return v.Error()
	case encoding.TextMarshaler:
		if raw, err := v.MarshalText(); err == nil {
			return string(raw)
		}
	case []byte:
		return string(v)
	}
	return fmt.Sprintf("%+v", v)
}

// appendWord quotes s where it would not read as one word.
func appendWord(b []byte, s string) []byte {
	if s == "" {
		return append(b, '"', '"')
	}
	for _, r := range s {
		if r == ' ' || r == '"' || r == '=' || !printable(r) {
			return strconv.AppendQuote(b, s)
		}
	}
	return append(b, s...)
}

// appendMessage writes the message as it is, on one line: clients must not be able to forge lines.
func appendMessage(b []byte, s string) []byte {
	for _, r := range s {
		if !printable(r) {
			return strconv.AppendQuote(b, s)
		}
	}
	return append(b, s...)
}

// printable reports whether r can stand on a terminal. What is not UTF-8 cannot.
func printable(r rune) bool {
	if r < utf8.RuneSelf {
		return ' ' <= r && r < 0x7f
	}
	return r != utf8.RuneError && unicode.IsPrint(r)
}
