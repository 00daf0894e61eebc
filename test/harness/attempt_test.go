package harness

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A run that fails, in a part and by Fatal, is repeated from scratch, and everybody hears of it.
func TestTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	t.Setenv("HEKI_TEST_REPORT", path)
	t.Setenv("HEKI_TEST_CACHE", t.TempDir())
	runs := 0
	var order []string
	t.Run("cell", func(t *testing.T) {
		Twice(t, func(t testing.TB) {
			runs++
			run := runs
			t.Cleanup(func() { order = append(order, "first") })
			t.Cleanup(func() { order = append(order, "last") })
			Part(t, "lane", func(t testing.TB) {
				t.Cleanup(func() {
					if t.Failed() {
						t.Log("the client's log")
					}
				})
				if run == 1 {
					t.Fatal("one reset")
				}
			})
			if t.Failed() != (run == 1) {
				t.Errorf("run %d failed: %t", run, t.Failed())
			}
		})
	})
	Repeated()
	if want := []string{"last", "first", "last", "first"}; runs != 2 || !slices.Equal(order, want) {
		t.Errorf("%d runs, cleanups %q", runs, order)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line, rest, _ := strings.Cut(string(got), "\n")
	if !strings.HasPrefix(line, "repeated: TestTwice/cell: attempt_test.go:") || !strings.Contains(line, "one reset (log: ") {
		t.Errorf("the report says %q", line)
	}
	if want := "repeated: 1 in all, look at each: TestTwice/cell\n"; rest != want {
		t.Errorf("the report ends in %q, want %q", rest, want)
	}
	_, file, _ := strings.Cut(line, "(log: ")
	log, err := os.ReadFile(strings.TrimSuffix(file, ")"))
	if err != nil || !strings.Contains(string(log), "one reset\n") || !strings.Contains(string(log), "the client's log") {
		t.Errorf("the log is %q, %v", log, err)
	}
}

// Two failures, and one that nothing forgives, are failures.
func TestTwiceFails(t *testing.T) {
	for name, heal := range map[string]bool{"both": false, "unforgivable": true} {
		runs := 0
		a := &attempt{TB: t} // stands for the test
		tries := func(t testing.TB) {
			runs++
			if heal {
				Unforgivable(t)
			}
			if !heal || runs == 1 {
				t.Error("wrong")
			}
		}
		twice(a, func(string, string) {}, tries)
		if want := map[bool]int{false: 2, true: 1}[heal]; !a.Failed() || runs != want {
			t.Errorf("%s: failed %t after %d runs, want %d", name, a.Failed(), runs, want)
		}
		if !strings.Contains(a.log(), "wrong") {
			t.Errorf("%s: the log is %q", name, a.log())
		}
	}
}
