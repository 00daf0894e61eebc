package log

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"heki/option"
)

// screen is a buffer that a timer may write to.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

// take returns what was written since the last call.
func (s *screen) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.text.Reset()
	return s.text.String()
}

// memory is a Logger that writes to a screen.
func memory(t *testing.T, o option.Log) (*Logger, *screen) {
	t.Helper()
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	out := new(screen)
	l.sink.replace(stream{out}, o.Format == "json")
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, out
}

type secret struct{}

func (secret) LogValue() slog.Value {
	return slog.GroupValue(slog.String("in", "a b"), slog.Int("id", 7), slog.Attr{})
}

type angry struct{ text string }

func (a *angry) Error() string { return a.text }

func TestText(t *testing.T) {
	at := time.Date(2026, 11, 22, 15, 4, 5, 999, time.UTC)
	for _, tt := range []struct {
		name, message string
		level         slog.Level
		attrs         []any
		want          string
	}{
		{"plain", "listening", slog.LevelInfo, []any{"address", "[::]:443"}, "INFO  listening address=[::]:443"},
		{"level", "x", slog.LevelError + 2, nil, "ERROR+2 x"},
		{"quoted", "a message", slog.LevelDebug, []any{"k", "two words", "e", "", "q", `a"b`, "eq", "a=b", "ü", "ü"}, `DEBUG a message k="two words" e="" q="a\"b" eq="a=b" ü=ü`},
		{"forged", "a\n2026-11-22 15:04:05 INFO  b", slog.LevelInfo, []any{"k", "a\nb", "esc", "\x1b[2J"}, `INFO  "a\n2026-11-22 15:04:05 INFO  b" k="a\nb" esc="\x1b[2J"`},
		{"not utf-8", "m\xff", slog.LevelInfo, []any{"k", "\xff"}, `INFO  "m\xff" k="\xff"`},
		{"numbers", "n", slog.LevelInfo, []any{"i", -1, "u", uint64(1 << 63), "f", 0.5, "b", true, "d", time.Minute, "t", at}, "INFO  n i=-1 u=9223372036854775808 f=0.5 b=true d=1m0s t=2026-11-22T15:04:05Z"},
		{"any", "n", slog.LevelWarn, []any{"a", netip.MustParseAddr("::1"), "e", errors.New("no route"), "raw", []byte("x y"), "s", struct{ A int }{1}}, `WARN  n a=::1 e="no route" raw="x y" s={A:1}`},
		{"nil", "n", slog.LevelInfo, []any{"err", nil, "k", 1}, "INFO  n k=1"},
		{"group", "n", slog.LevelInfo, []any{"conn", secret{}, slog.Group("g", "a", 1, slog.Group("h", "b", 2)), slog.Group("", "c", 3), slog.Group("empty")}, `INFO  n conn.in="a b" conn.id=7 g.a=1 g.h.b=2 c=3`},
		{"panic", "n", slog.LevelInfo, []any{"err", (*angry)(nil)}, `INFO  n err="!panic in *log.angry: runtime error: invalid memory address or nil pointer dereference"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := slog.NewRecord(at, tt.level, tt.message, 0)
			r.Add(tt.attrs...)
			line, body := textState{}.appendRecord(nil, r)
			want := "2026-11-22 15:04:05 " + tt.want + "\n"
			if string(line) != want {
				t.Errorf("got  %q\nwant %q", line, want)
			}
			if got := string(line[:body]); got != "2026-11-22 15:04:05 " {
				t.Errorf("before the body: %q", got)
			}
		})
	}
}

func TestDerived(t *testing.T) {
	l, out := memory(t, option.Log{})
	child := l.Slog().With("a", 1).WithGroup("g").With("b", 2).WithGroup("").With()
	child.Info("m", "c", 3)
	l.Slog().Info("m", "c", 3)
	got := cutTimes(out.take())
	want := "INFO  m a=1 g.b=2 g.c=3\nINFO  m c=3\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	l.sink.json.Store(true) // a derived logger follows the format
	child.Info("m", "c", 3)
	var line map[string]any
	if err := json.Unmarshal([]byte(out.take()), &line); err != nil {
		t.Fatal(err)
	}
	delete(line, "time")
	if got, want := fmt.Sprint(line), "map[a:1 g:map[b:2 c:3] level:INFO msg:m]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// cutTimes removes the 20 bytes of time at the start of each line.
func cutTimes(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(line[min(len(line), len(textTime)+1):])
	}
	return b.String()
}

func TestLevels(t *testing.T) {
	for _, tt := range []struct {
		name string
		want slog.Level
		bad  bool
	}{
		{name: "", want: slog.LevelInfo},
		{name: "trace", want: slog.LevelDebug},
		{name: "debug", want: slog.LevelDebug},
		{name: "info", want: slog.LevelInfo},
		{name: "warn", want: slog.LevelWarn},
		{name: "error", want: slog.LevelError},
		{name: "panic", want: slog.LevelError},
		{name: "INFO", bad: true},
	} {
		got, err := ParseLevel(tt.name)
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("ParseLevel(%q) = %v, %v", tt.name, got, err)
		}
	}
	l, out := memory(t, option.Log{Level: "warn"})
	derived := l.Slog().With("k", 1)
	derived.Info("no")
	if err := l.SetLevel("debug"); err != nil {
		t.Fatal(err)
	}
	if err := l.SetLevel("loud"); err == nil {
		t.Error("a bad level was taken")
	}
	derived.Debug("yes")
	if got := cutTimes(out.take()); got != "DEBUG yes k=1\n" {
		t.Errorf("got %q", got)
	}
	if l.Level() != slog.LevelDebug {
		t.Errorf("level = %v", l.Level())
	}
}

func TestDisabled(t *testing.T) {
	l, err := New(option.Log{Disabled: true, Dir: t.TempDir() + "/never"})
	if err != nil {
		t.Fatal(err)
	}
	if l.Slog().Enabled(t.Context(), slog.LevelError) {
		t.Error("errors are enabled")
	}
	if err := l.Reconfigure(option.Log{Level: "loud"}); err == nil {
		t.Error("a bad level was taken")
	}
	if err := errors.Join(l.Reopen(), l.Close(), l.Close(), l.Reopen()); err != nil {
		t.Error(err)
	}
	l.sink.level.Set(slog.LevelDebug)
	l.Slog().Info("after close, into nothing")
}

func TestRepeats(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, out := memory(t, option.Log{Format: format})
				log := l.Slog().With("panel", "main")
				for range 5 {
					log.Warn("does not answer", "err", errors.New("refused"))
					log.Info("not folded")
					time.Sleep(time.Second)
				}
				log.Warn("does not answer", "err", errors.New("timeout"))
				log.Error("does not answer", "err", errors.New("refused"))
				if got := out.take(); strings.Count(got, "\n") != 5+3 {
					t.Errorf("%d lines, want 8:\n%s", strings.Count(got, "\n"), got)
				}
				time.Sleep(repeatWindow) // each window ends with one line where something was held
				synctest.Wait()
				got := out.take()
				if strings.Count(got, "\n") != 1 || strings.Count(got, "refused") != 1 {
					t.Errorf("at the end of the window:\n%s", got)
				}
				checkRepeated(t, format, got, 4)
				log.Warn("does not answer", "err", errors.New("refused")) // a new window
				log.Warn("does not answer", "err", errors.New("refused"))
				if got := strings.Count(out.take(), "\n"); got != 1 {
					t.Errorf("%d lines in the second window", got)
				}
				l.sink.replace(stream{out}, false) // what is held is not lost when the destination changes
				checkRepeated(t, format, out.take(), 1)
			})
		})
	}
}

func checkRepeated(t *testing.T, format, line string, times int) {
	t.Helper()
	if format == "text" {
		want := fmt.Sprintf("WARN  does not answer panel=main err=refused (repeated %d times)\n", times)
		if got := cutTimes(line); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		return
	}
	var got struct {
		Time            time.Time
		Level, Msg, Err string
		Repeated        int
	}
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	if got.Time.IsZero() || got.Level != "WARN" || got.Msg != "does not answer" || got.Err != "refused" || got.Repeated != times {
		t.Errorf("got %+v", got)
	}
}

func TestRepeatsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, out := memory(t, option.Log{})
		long := strings.Repeat("x", maxRepeatBody)
		for i := range 3 * maxRepeats {
			l.Slog().Warn("w", "i", i)
			l.Slog().Warn(long)
		}
		if got := l.sink.remembered(); got != maxRepeats {
			t.Errorf("%d lines remembered, want %d", got, maxRepeats)
		}
		if got := strings.Count(out.take(), "\n"); got != 6*maxRepeats {
			t.Errorf("%d lines written, want %d", got, 6*maxRepeats)
		}
		time.Sleep(2 * repeatWindow)
		synctest.Wait()
		if got := l.sink.remembered(); got != 0 {
			t.Errorf("%d lines remembered for ever", got)
		}
	})
}

func (s *sink) remembered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.repeats)
}

func TestConcurrent(t *testing.T) {
	l, out := memory(t, option.Log{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			log := l.Slog().With("i", i)
			for j := range 200 {
				log.Info("line", "j", j)
				log.Warn("warning")
				_ = l.SetLevel("info")
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Count(out.take(), "\n"), 8*200+8+8; got != want {
		t.Errorf("%d lines, want %d", got, want)
	}
}

func TestDisabledLevelAllocs(t *testing.T) {
	l, _ := memory(t, option.Log{})
	err := errors.New("x")
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		l.Slog().LogAttrs(ctx, slog.LevelDebug, "closed", slog.Any("conn", &secret{}), slog.Any("err", err))
	}); n != 0 {
		t.Errorf("%v allocations for a line that is not logged", n)
	}
}

func FuzzText(f *testing.F) {
	f.Add("message", "key", "value")
	f.Add("a\nb", "k k", "\"")
	f.Fuzz(func(t *testing.T, message, key, value string) {
		r := slog.NewRecord(time.Unix(0, 0), slog.LevelInfo, message, 0)
		r.Add(slog.String(key, value))
		line, _ := textState{}.appendRecord(nil, r)
		for i, c := range string(line) { // one line, no control characters: nobody can forge one
			if c < ' ' && i != len(line)-1 || c == 0x7f {
				t.Fatalf("byte %d of %q is %q", i, line, c)
			}
		}
		if line[len(line)-1] != '\n' {
			t.Fatalf("%q does not end", line)
		}
	})
}

func BenchmarkText(b *testing.B) { // 0.7 us, 0 allocs
	benchmark(b, "text", slog.LevelInfo)
}

func BenchmarkJSON(b *testing.B) { benchmark(b, "json", slog.LevelInfo) }

func BenchmarkDisabled(b *testing.B) { benchmark(b, "text", slog.LevelDebug) }

func benchmark(b *testing.B, format string, level slog.Level) {
	l, err := New(option.Log{})
	if err != nil {
		b.Fatal(err)
	}
	l.sink.replace(stream{discard{}}, format == "json")
	failure := errors.New("connection refused")
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		l.Slog().LogAttrs(ctx, level, "dial", slog.String("user", "alice"), slog.Int("id", 7), slog.Any("err", failure))
	}
}

// discard is io.Discard without its ReadFrom.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
