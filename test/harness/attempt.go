package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Twice runs a cell of a client that is not ours, and once more from scratch when it fails: f starts its
// own server and client each time. The cell fails when both runs do, and both logs are shown. A
// repetition is never silent: see Repeated. What must never happen is not forgiven: a race or a panic of
// heki, its early end or none, payload that has changed, a stranger who reaches the target.
func Twice(t *testing.T, f func(t testing.TB)) {
	t.Helper()
	twice(t, func(reason, log string) { repeated.add(t.Name(), reason, log) }, f)
}

// Cell runs f by Twice as a parallel subtest of t.
func Cell(t *testing.T, name string, f func(t testing.TB)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		Twice(t, f)
	})
}

// twice tells say before it repeats.
func twice(t testing.TB, say func(reason, log string), f func(t testing.TB)) {
	first := &attempt{TB: t}
	first.run(f)
	switch {
	case !first.Failed():
		first.show()
		return
	case first.final:
		first.show()
		t.Fail()
		return
	}
	say(first.reason, first.log())
	second := &attempt{TB: t}
	second.run(f)
	if second.Failed() {
		first.show()
		second.show()
		t.Fail()
	}
}

// Part runs f as a subtest of t, which may be a run of Twice.
func Part(t testing.TB, name string, f func(t testing.TB)) {
	t.Helper()
	switch t := t.(type) {
	case *testing.T:
		t.Run(name, func(t *testing.T) { f(t) })
	case *attempt:
		t.TB.(*testing.T).Run(name, func(inner *testing.T) { (&attempt{TB: inner, whole: t}).run(f) })
	default:
		t.Fatalf("%T has no subtests", t)
	}
}

// attempt is a test whose failure does not fail the one that it wraps.
type attempt struct {
	testing.TB
	whole *attempt // which this is a part of; nil: none

	mu       sync.Mutex
	failed   bool
	final    bool     // no repetition may forgive it
	reason   string   // the first error
	lines    []string // of the log, its parts' included
	cleanups []func()
}

// run runs f and then what it has left for Cleanup, each on a goroutine that Fatal may end.
func (a *attempt) run(f func(t testing.TB)) {
	alone(func() { f(a) })
	for {
		a.mu.Lock()
		n := len(a.cleanups)
		if n == 0 {
			a.mu.Unlock()
			return
		}
		last := a.cleanups[n-1]
		a.cleanups = a.cleanups[:n-1]
		a.mu.Unlock()
		alone(last)
	}
}

func alone(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// note puts text into the log of a and of what it is a part of, and fails them.
func (a *attempt) note(text string, fails bool) {
	where := ""
	if _, file, line, ok := runtime.Caller(2); ok {
		where = fmt.Sprintf("%s:%d: ", filepath.Base(file), line)
	}
	text = where + strings.TrimSuffix(text, "\n")
	for b := a; b != nil; b = b.whole {
		b.mu.Lock()
		b.lines = append(b.lines, a.Name()+": "+text)
		b.failed = b.failed || fails
		if fails && b.reason == "" {
			b.reason, _, _ = strings.Cut(text, "\n")
		}
		b.mu.Unlock()
	}
}

func (a *attempt) log() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.lines, "\n")
}

func (a *attempt) show() {
	if log := a.log(); log != "" {
		a.TB.Log("\n" + log)
	}
}

// Unforgivable rules out that a repetition heals the failure of t.
func Unforgivable(t testing.TB) {
	a, _ := t.(*attempt)
	for ; a != nil; a = a.whole {
		a.mu.Lock()
		a.final = true
		a.mu.Unlock()
	}
}

func (a *attempt) Failed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

func (a *attempt) Cleanup(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cleanups = append(a.cleanups, f)
}

func (a *attempt) Helper()                           {}
func (a *attempt) Log(args ...any)                   { a.note(fmt.Sprintln(args...), false) }
func (a *attempt) Logf(format string, args ...any)   { a.note(fmt.Sprintf(format, args...), false) }
func (a *attempt) Error(args ...any)                 { a.note(fmt.Sprintln(args...), true) }
func (a *attempt) Errorf(format string, args ...any) { a.note(fmt.Sprintf(format, args...), true) }
func (a *attempt) Fail()                             { a.note("failed", true) }

func (a *attempt) FailNow() {
	a.note("failed", true)
	runtime.Goexit()
}

func (a *attempt) Fatal(args ...any) {
	a.note(fmt.Sprintln(args...), true)
	runtime.Goexit()
}

func (a *attempt) Fatalf(format string, args ...any) {
	a.note(fmt.Sprintf(format, args...), true)
	runtime.Goexit()
}

// report is what Twice had to repeat in this process.
type report struct {
	mu    sync.Mutex
	cells []string
}

var repeated report

// add says what is repeated and keeps the log of the first run in the cache.
func (r *report) add(cell, reason, log string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cells = append(r.cells, cell)
	tell := fmt.Sprintf("repeated: %s: %s", cell, reason)
	if path, err := keep(cell, log); err == nil {
		tell += " (log: " + path + ")"
	}
	announce(tell)
}

func keep(cell, log string) (path string, err error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "repeated")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path = filepath.Join(dir, strings.ReplaceAll(cell, "/", "_")+".log")
	return path, os.WriteFile(path, []byte(log+"\n"), 0o644)
}

// announce writes line to standard error and, because go test shows nothing of what passes, to the end of
// the file that HEKI_TEST_REPORT names.
func announce(line string) {
	fmt.Fprintln(os.Stderr, line)
	path := os.Getenv("HEKI_TEST_REPORT")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		return
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}

// Repeated announces in one line which cells Twice had to repeat. It is for the end of TestMain.
func Repeated() {
	repeated.mu.Lock()
	defer repeated.mu.Unlock()
	if n := len(repeated.cells); n > 0 {
		announce(fmt.Sprintf("repeated: %d in all, look at each: %s", n, strings.Join(repeated.cells, ", ")))
	}
}
