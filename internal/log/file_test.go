package log

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"heki/option"
)

// names lists a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func touch(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDailyFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b") // made when missing
	synctest.Test(t, func(t *testing.T) {
		l, err := New(option.Log{Dir: dir, RetentionDays: 3})
		if err != nil {
			t.Fatal(err)
		}
		day := func() string { return time.Now().Format(dayFile) }
		first := day()
		touch(t, filepath.Join(dir, "heki-1999-01-01.log.gz"), filepath.Join(dir, "other-1999-01-01.log"), filepath.Join(dir, "heki-1999-13-01.log"))
		if err := os.Mkdir(filepath.Join(dir, "heki-1999-01-02.log"), 0o700); err != nil {
			t.Fatal(err)
		}
		strangers := names(t, dir)
		for range 6 {
			l.Slog().Info("day", "name", day())
			l.Slog().Info("again")
			time.Sleep(24 * time.Hour)
		}
		l.Slog().Info("day", "name", day())
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range 3 {
			want = append(want, time.Now().AddDate(0, 0, -i).Format(dayFile))
		}
		for _, name := range strangers {
			if name != first {
				want = append(want, name)
			}
		}
		slices.Sort(want)
		if got := names(t, dir); !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		for i := range 3 {
			name := time.Now().AddDate(0, 0, -i).Format(dayFile)
			if text := read(t, filepath.Join(dir, name)); !strings.Contains(text, "name="+name) || strings.Count(text, "name=") != 1 {
				t.Errorf("%s holds %q", name, text)
			}
		}
	})
}

func TestDayOf(t *testing.T) {
	f := &file{dir: "d"}
	for _, tt := range []struct{ zone, now, path string }{
		{"UTC", "2026-12-31T23:59:59Z", "d/heki-2026-12-31.log"},
		{"Asia/Shanghai", "2026-12-31T16:00:00Z", "d/heki-2027-01-01.log"},
		{"America/Santiago", "2026-09-06T03:30:00Z", "d/heki-2026-09-05.log"}, // the next midnight does not exist
		{"America/Santiago", "2026-09-06T04:30:00Z", "d/heki-2026-09-06.log"},
	} {
		zone, err := time.LoadLocation(tt.zone)
		if err != nil {
			t.Fatal(err)
		}
		now, err := time.Parse(time.RFC3339, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		path, from, to := f.dayOf(now.In(zone))
		if path != tt.path || from.After(now) || !to.After(now) || to.Sub(from) > 25*time.Hour {
			t.Errorf("%s %s: %s from %s to %s", tt.zone, tt.now, path, from, to)
		}
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "heki.log")
	l, err := New(option.Log{Output: path})
	if err != nil {
		t.Fatal(err)
	}
	l.Slog().Info("one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Slog().Info("two")
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Slog().Info("three")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := cutTimes(read(t, path+".1")); got != "INFO  one\nINFO  two\n" {
		t.Errorf("old file holds %q", got)
	}
	if got := cutTimes(read(t, path)); got != "INFO  three\n" {
		t.Errorf("new file holds %q", got)
	}
}

func TestReconfigure(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log")
	l, err := New(option.Log{Output: a})
	if err != nil {
		t.Fatal(err)
	}
	derived := l.Slog().With("k", 1)
	derived.Info("one")
	touch(t, filepath.Join(dir, "plain"))
	if err := l.Reconfigure(option.Log{Dir: filepath.Join(dir, "plain", "no"), Level: "error"}); err == nil {
		t.Fatal("a directory below a file was taken")
	}
	derived.Info("two") // still as before
	if err := l.Reconfigure(option.Log{Output: b, Format: "json", Level: "debug"}); err != nil {
		t.Fatal(err)
	}
	derived.Debug("three")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := cutTimes(read(t, a)); got != "INFO  one k=1\nINFO  two k=1\n" {
		t.Errorf("first file holds %q", got)
	}
	if got := read(t, b); !strings.HasSuffix(got, `"level":"DEBUG","msg":"three","k":1}`+"\n") {
		t.Errorf("second file holds %q", got)
	}
}

// TestWriteErrors: a closed descriptor stands for a full disk, a removed parent for a lost mount.
func TestWriteErrors(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	synctest.Test(t, func(t *testing.T) {
		fallback := new(bytes.Buffer)
		f := &file{dir: dir, keepDays: 1, fallback: fallback}
		d, err := openFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.open.Close(); err != nil {
			t.Fatal(err)
		}
		d.write(time.Now(), []byte("one\n"))
		d.write(time.Now(), []byte("two\n"))
		got := fallback.String()
		if !strings.HasPrefix(got, "one\n") || !strings.HasSuffix(got, "two\n") || strings.Count(got, "ERROR log: write ") != 1 {
			t.Errorf("standard error got %q", got)
		}
		if err := d.reopen(time.Now()); err != nil {
			t.Fatal(err)
		}
		d.write(time.Now(), []byte("three\n"))
		yesterday := filepath.Join(dir, time.Now().Format(dayFile))
		if got := read(t, yesterday); got != "three\n" {
			t.Errorf("the file holds %q", got)
		}

		fallback.Reset()
		moved := dir + ".moved"
		if err := os.Rename(dir, moved); err != nil {
			t.Fatal(err)
		}
		touch(t, dir) // a file where the directory was: the new day cannot be opened
		time.Sleep(24 * time.Hour)
		d.write(time.Now(), []byte("four\n"))
		d.write(time.Now(), []byte("five\n"))
		if got := fallback.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "ERROR log: ") {
			t.Errorf("standard error got %q", got)
		}
		if got := read(t, filepath.Join(moved, filepath.Base(yesterday))); got != "three\nfour\nfive\n" {
			t.Errorf("the old file holds %q", got)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(retryAfter)
		d.write(time.Now(), []byte("six\n"))
		if got := read(t, filepath.Join(dir, time.Now().Format(dayFile))); got != "six\n" {
			t.Errorf("the new file holds %q", got)
		}
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOpenErrors(t *testing.T) {
	for _, o := range []option.Log{
		{Output: t.TempDir()}, // a directory
		{Dir: "/dev/null/logs"},
		{Level: "loud"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	for _, o := range []option.Log{{Output: "stdout"}, {Output: "stderr"}} {
		d, err := openDestination(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := d.(stream); !ok || d.close() != nil {
			t.Errorf("%+v: %T", o, d)
		}
	}
}
