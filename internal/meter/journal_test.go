package meter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// batchOf makes a batch of users id → up, down.
func batchOf(id string, users ...Traffic) Batch {
	return Batch{Node: "node \"1\"", ID: id, Time: time.Unix(1763837083, 5), Users: users}
}

// reopen opens the directory as the next process would.
func reopen(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := OpenJournal(dir)
	if err != nil {
		t.Fatalf("OpenJournal: %v", err)
	}
	return j
}

func TestJournalLife(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "traffic", "node")
	j := reopen(t, dir)
	if _, err := os.Stat(dir); err == nil {
		t.Error("an empty journal made its directory")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(j.Append(batchOf("a", Traffic{1, "alice", 10, 20}, Traffic{0, "b\nob\xff", 1, 0})))
	must(j.Append(batchOf("b", Traffic{1, "alice2", 5, 5})))

	j = reopen(t, dir)
	want := batchOf("b", Traffic{1, "alice2", 15, 25}, Traffic{0, "b\nob\xff", 1, 0})
	if got := j.Pending(); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Fatalf("pending = %+v, want %+v", got, want)
	}
	first, ok, err := j.Send(batchOf("c", Traffic{1, "alice", 1, 1}), Portion{MinBytes: 10})
	if err != nil || !ok || first.Bytes() != 42 || first.Node != want.Node {
		t.Fatalf("Send = %+v, %v, %v", first, ok, err)
	}
	if _, ok, err := j.Send(Batch{}, Portion{MinBytes: 10}); ok || err != nil {
		t.Fatalf("Send below the minimum = %v, %v", ok, err)
	}
	j = reopen(t, dir)
	if got := j.Sent(); len(got) != 1 || got[0].ID != first.ID || got[0].Bytes() != 42 || j.Pending()[0].Bytes() != 1 {
		t.Fatalf("sent = %+v, pending = %+v", got, j.Pending())
	}
	must(j.Hold(first.ID))
	j = reopen(t, dir)
	if got := j.Held(); len(got) != 1 || got[0].ID != first.ID || len(j.Sent()) != 0 {
		t.Fatalf("held = %+v, sent = %+v", got, j.Sent())
	}
	must(j.Return(first.ID))
	if got := j.Pending(); got[0].Bytes() != 43 || len(j.Held()) != 0 {
		t.Fatalf("returned = %+v", got)
	}
	second, _, err := j.Send(Batch{}, Portion{Limit: 1})
	must(err)
	must(j.Settle(second.ID))
	if err := j.Settle(second.ID); err == nil {
		t.Error("settled twice")
	}
	must(j.Settle(j.Pending()[0].ID))
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("an empty journal left %v", names)
	}
	if err := j.Append(batchOf("../x", Traffic{1, "", 1, 1})); err == nil {
		t.Error("accepted a bad id")
	}
	if err := j.Append(batchOf("x", Traffic{1, "", -1, 1})); err == nil {
		t.Error("accepted negative bytes")
	}
}

func TestJournalHeldBounded(t *testing.T) {
	dir := t.TempDir()
	j := reopen(t, dir)
	for i := range 3 * maxHeld {
		b, _, err := j.Send(batchOf(fmt.Sprint(i), Traffic{int64(i%2) + 1, "u", 1, 1}), Portion{})
		if err == nil {
			err = j.Hold(b.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	j = reopen(t, dir)
	if got := j.heldBatches.Load(); got != maxHeld {
		t.Errorf("%d batches held, want %d", got, maxHeld)
	}
	if got := j.heldBytes.Load(); got != 3*maxHeld*2 {
		t.Errorf("%d bytes held, want %d", got, 3*maxHeld*2)
	}
}

func TestJournalCorrupt(t *testing.T) {
	good := string(appendRecord(nil, []entry{{pending, batchOf("a", Traffic{1, "u", 1, 2})}}))
	for name, content := range map[string]string{
		"empty":    "",
		"foreign":  "{}",
		"cut":      good[:len(good)-20],
		"no sum":   strings.Split(good, "sum ")[0],
		"flipped":  strings.Replace(good, "1 1 2", "1 1 3", 1),
		"appended": good + "x",
		"state":    strings.Replace(good, "pending", "gone", 1),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, journalFile), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			j, err := OpenJournal(dir)
			if !errors.Is(err, ErrCorrupt) || j == nil {
				t.Fatalf("OpenJournal = %v, %v, want a journal and ErrCorrupt", j, err)
			}
			aside, _ := filepath.Glob(filepath.Join(dir, asidePrefix+"*"))
			if len(aside) != 1 || !strings.Contains(err.Error(), aside[0]) {
				t.Fatalf("moved to %v, error %v", aside, err)
			}
			if b, _ := os.ReadFile(aside[0]); string(b) != content {
				t.Error("the file moved aside changed")
			}
			if err := j.Append(batchOf("b", Traffic{1, "u", 1, 2})); err != nil {
				t.Errorf("the new journal: %v", err)
			}
			reopen(t, dir)
		})
	}
	if _, err := parseRecord([]byte(good)); err != nil {
		t.Errorf("the good one: %v", err)
	}
	for i := range good { // no prefix passes
		if _, err := parseRecord([]byte(good[:i])); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("prefix of %d bytes: %v, want ErrCorrupt", i, err)
		}
	}
}

// TestJournalUnreadable leaves alone what it cannot read for other reasons.
func TestJournalUnreadable(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, journalFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if j, err := OpenJournal(dir); j != nil || err == nil || errors.Is(err, ErrCorrupt) {
		t.Errorf("OpenJournal = %v, %v, want only an error", j, err)
	}
}

func TestDir(t *testing.T) {
	long := strings.Repeat("ü", 200)
	seen := make(map[string]string)
	for tag, want := range map[string]string{
		"node-3": "node-3", "a/b": "a%2Fb", "..": "%2E%2E", "": "%", "a%2Fb": "a%252Fb", long: "", long + "x": "",
	} {
		got := Dir("/s", tag)
		if want != "" && got != "/s/traffic/"+want {
			t.Errorf("Dir(%q) = %s, want %s", tag, got, want)
		}
		if len(filepath.Base(got)) > maxTagLength || seen[got] != "" {
			t.Errorf("Dir(%q) = %s, too long or also that of %q", tag, got, seen[got])
		}
		seen[got] = tag + " "
	}
}

func FuzzParseRecord(f *testing.F) {
	full := string(appendRecord(nil, []entry{
		{pending, batchOf("a", Traffic{1, "u", 1, 2}, Traffic{0, "x\ny", 3, 4})},
		{sent, batchOf("b-1", Traffic{9, "", 0, 1 << 62})},
		{held, batchOf("c_2")},
	}))
	f.Add(full)
	f.Add(recordHead)
	f.Add(recordHead + "batch held a 0 \"\"\n1 2 3 `x`\n")
	f.Fuzz(func(t *testing.T, in string) {
		// A fuzzer does not find checksums: every input is tried as it is and with the right one.
		body := strings.Split(in, recordSum)[0]
		for _, file := range []string{in, fmt.Sprintf("%s%s%08x\n", body, recordSum, checksum([]byte(body)))} {
			entries, err := parseRecord([]byte(file))
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Errorf("error %v does not wrap ErrCorrupt", err)
				}
				continue
			}
			if out := appendRecord(nil, entries); string(out) != file {
				t.Errorf("not canonical:\n got %q\nwant %q", out, file)
			}
			for _, e := range entries {
				if checkID(e.ID) != nil {
					t.Errorf("accepted id %q", e.ID)
				}
			}
		}
	})
}
