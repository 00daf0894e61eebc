package log

import (
	"bytes"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// repeatWindow is how long after a warning the same one is counted instead of written.
	repeatWindow = time.Minute
	// maxRepeats and maxRepeatBody bound what is remembered: 128 lines of at most 2 KiB. Warnings
	// beyond are written each time.
	maxRepeats    = 128
	maxRepeatBody = 2 << 10
)

// sink is where all handlers write.
type sink struct {
	level slog.LevelVar
	json  atomic.Bool

	mu      sync.Mutex
	dest    destination // nil once closed
	repeats map[string]*repeat
}

// repeat is a warning that was written less than repeatWindow ago.
type repeat struct {
	timer *time.Timer
	json  bool
	count int // how often it came again
}

func newSink() *sink { return &sink{repeats: make(map[string]*repeat)} }

// write writes one rendered line, unless it is a warning that was just there. line[body:] is the part
// that is the same when the same happens again.
func (s *sink) write(line []byte, body int, level slog.Level, json bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dest == nil || level >= slog.LevelWarn && s.heldLocked(line[body:], json) {
		return
	}
	s.dest.write(time.Now(), line)
}

// heldLocked counts a line that was there within the window, and remembers any other.
func (s *sink) heldLocked(body []byte, json bool) bool {
	if r := s.repeats[string(body)]; r != nil {
		r.count++
		return true
	}
	if len(s.repeats) < maxRepeats && len(body) <= maxRepeatBody {
		key := string(body)
		r := &repeat{json: json}
		r.timer = time.AfterFunc(repeatWindow, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.repeats[key] == r {
				s.endRepeatLocked(key, r)
			}
		})
		s.repeats[key] = r
	}
	return false
}

// endRepeatLocked forgets a line and says how often it was held back.
func (s *sink) endRepeatLocked(body string, r *repeat) {
	delete(s.repeats, body)
	if r.count == 0 || s.dest == nil {
		return
	}
	now := time.Now()
	b := takeBuffer()
	if r.json {
		*b = append((*b)[:0], jsonHead...)
		*b = append(now.AppendFormat(*b, time.RFC3339Nano), '"')
		*b = append(*b, body[:len(body)-len("}\n")]...)
		*b = strconv.AppendInt(append(*b, `,"repeated":`...), int64(r.count), 10)
		*b = append(*b, "}\n"...)
	} else {
		*b = append(now.AppendFormat((*b)[:0], textTime), ' ')
		*b = append(*b, body[:len(body)-len("\n")]...)
		*b = strconv.AppendInt(append(*b, " (repeated "...), int64(r.count), 10)
		*b = append(*b, " times)\n"...)
	}
	s.dest.write(now, *b)
	giveBuffer(b)
}

// endRepeatsLocked writes all that is held back.
func (s *sink) endRepeatsLocked() {
	for body, r := range s.repeats {
		r.timer.Stop()
		s.endRepeatLocked(body, r)
	}
}

// replace turns to another destination and format. What is held back still goes to the old one.
func (s *sink) replace(d destination, json bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endRepeatsLocked()
	if s.dest != nil {
		_ = s.dest.close() // nobody can be told: the log itself is what is closed
	}
	s.dest = d
	s.json.Store(json)
}

func (s *sink) reopen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dest == nil {
		return nil
	}
	return s.dest.reopen(time.Now())
}

func (s *sink) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dest == nil {
		return nil
	}
	s.endRepeatsLocked()
	d := s.dest
	s.dest = nil
	return d.close()
}

// jsonHead is how slog.JSONHandler starts a line; a test holds it to that.
const jsonHead = `{"time":"`

// jsonWriter takes the lines of slog.JSONHandler, which writes each with one call.
type jsonWriter struct{ sink *sink }

// Write implements io.Writer.
func (w jsonWriter) Write(line []byte) (int, error) {
	body, level := jsonBody(line)
	w.sink.write(line, body, level, true)
	return len(line), nil
}

// jsonBody finds the end of the time and the level. A line of another form is written each time.
func jsonBody(line []byte) (body int, level slog.Level) {
	rest, ok := bytes.CutPrefix(line, []byte(jsonHead))
	if !ok {
		return 0, slog.LevelInfo
	}
	body = len(jsonHead) + bytes.IndexByte(rest, '"') + 1
	name, ok := bytes.CutPrefix(line[body:], []byte(`,"level":"`))
	if !ok || !bytes.HasSuffix(line, []byte("}\n")) {
		return 0, slog.LevelInfo
	}
	if bytes.HasPrefix(name, []byte("WARN")) || bytes.HasPrefix(name, []byte("ERROR")) {
		return body, slog.LevelWarn
	}
	return body, slog.LevelInfo
}
