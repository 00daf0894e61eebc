// Package log writes what the program says: lines for people or JSON, to standard error or to files
// that turn over each day. Level, format and destination can change while the loggers are in use.
package log

import (
	"context"
	"fmt"
	"log/slog"
	"math"

	"heki/option"
)

// levelOff is above every level there is: nothing is logged.
const levelOff = slog.Level(math.MaxInt)

// Logger makes the process's slog.Logger and is the handle on what stands behind it. It is safe for
// concurrent use.
type Logger struct {
	slog *slog.Logger
	sink *sink
}

// New opens the destination that o asks for. o is validated; an empty o logs info lines for people to
// standard error. An error says which file or directory cannot be used.
func New(o option.Log) (*Logger, error) {
	s := newSink()
	l := &Logger{slog: slog.New(newHandler(s)), sink: s}
	if err := l.Reconfigure(o); err != nil {
		return nil, err
	}
	return l, nil
}

// Slog returns the logger to hand out. It and all loggers made from it follow later changes.
func (l *Logger) Slog() *slog.Logger { return l.slog }

// Reconfigure changes level, format and destination to those of o, for all loggers at once. On error
// nothing has changed.
func (l *Logger) Reconfigure(o option.Log) error {
	level, err := ParseLevel(o.Level)
	if err != nil {
		return err
	}
	if o.Disabled {
		level = levelOff
	}
	d, err := openDestination(o)
	if err != nil {
		return err
	}
	l.sink.replace(d, o.Format == "json")
	l.sink.level.Set(level)
	return nil
}

// Level returns the lowest level that is logged.
func (l *Logger) Level() slog.Level { return l.sink.level.Level() }

// SetLevel changes the lowest level that is logged, at once and for all loggers. The names are those
// of ParseLevel.
func (l *Logger) SetLevel(name string) error {
	level, err := ParseLevel(name)
	if err != nil {
		return err
	}
	l.sink.level.Set(level)
	return nil
}

// Reopen closes and opens the log file, after a tool like logrotate has moved it away. On error the
// old file stays in use. Standard error has nothing to reopen.
func (l *Logger) Reopen() error { return l.sink.reopen() }

// Close writes what is held back and closes the file. What is logged later is lost.
func (l *Logger) Close() error { return l.sink.close() }

// ParseLevel reads debug, info, warn, error and sing-box's names for what lies beyond them. An empty
// name is info.
func ParseLevel(name string) (slog.Level, error) {
	switch name {
	case "trace", "debug":
		return slog.LevelDebug, nil
	case "", "info":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error", "fatal", "panic":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("log level is %q, must be debug, info, warn or error", name)
}

// handler renders for both formats, so that a change of format reaches every logger that was derived.
type handler struct {
	sink *sink
	text textState
	json slog.Handler
}

func newHandler(s *sink) *handler {
	// The sink decides what is logged; the JSON handler takes all it is given.
	return &handler{sink: s, json: slog.NewJSONHandler(jsonWriter{s}, &slog.HandlerOptions{Level: slog.Level(math.MinInt)})}
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.sink.level.Level()
}

// Handle implements slog.Handler. A line that cannot be written is not an error of the caller.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if h.sink.json.Load() {
		return h.json.Handle(ctx, r)
	}
	b := takeBuffer()
	body := 0
	*b, body = h.text.appendRecord((*b)[:0], r)
	h.sink.write(*b, body, r.Level, false)
	giveBuffer(b)
	return nil
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	return &handler{sink: h.sink, text: h.text.withAttrs(attrs), json: h.json.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &handler{sink: h.sink, text: h.text.withGroup(name), json: h.json.WithGroup(name)}
}
