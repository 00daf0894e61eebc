package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"heki/internal/meter"
	"heki/panel"
)

// totals is the file of what users moved. It is one node's; one goroutine adds to it.
type totals struct {
	path string
	now  func() time.Time
	sums *sums // nil: not read yet
}

// Sum is what one user moved on one node, in bytes.
type Sum struct {
	Name string `json:"name"`
	Up   int64  `json:"up"`
	Down int64  `json:"down"`
}

// sums is the file's schema.
type sums struct {
	Version int            `json:"version"`
	Since   time.Time      `json:"since"`
	Users   map[string]Sum `json:"users"` // by id
}

// add sums users up on disk. On error nothing was added.
func (t *totals) add(users []meter.Traffic) error {
	if t.sums == nil {
		s, err := t.load()
		if err != nil {
			return err
		}
		t.sums = s
	}
	next := *t.sums
	next.Users = maps.Clone(t.sums.Users)
	for _, u := range users {
		key := strconv.FormatInt(u.ID, 10)
		sum := next.Users[key]
		next.Users[key] = Sum{Name: u.Name, Up: sum.Up + u.Up, Down: sum.Down + u.Down}
	}
	raw, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return err
	}
	if err := panel.WriteAtomic(t.path, raw); err != nil {
		t.sums = nil // the file may be the new one all the same: look at it next time
		if now, loadErr := t.load(); loadErr == nil && maps.Equal(now.Users, next.Users) {
			t.sums = now
			return nil
		}
		return fmt.Errorf("write totals: %w", err)
	}
	t.sums = &next
	return nil
}

// sumAll sums what users moved on all nodes of the panel that the totals at path are of: their files are
// beside it and their names differ in the node's number.
func sumAll(path string) (map[int64]int64, error) {
	dir, name := filepath.Split(path)
	of := name[:strings.LastIndex(name, "%2F")+1]
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	all := make(map[int64]int64)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), of) || strings.LastIndex(e.Name(), "%2F")+1 != len(of) || filepath.Ext(e.Name()) != ".json" {
			continue
		}
		one := totals{path: filepath.Join(dir, e.Name()), now: time.Now}
		s, err := one.load()
		if err != nil {
			return nil, err
		}
		for key, sum := range s.Users {
			if id, err := strconv.ParseInt(key, 10, 64); err == nil {
				all[id] += sum.Up + sum.Down
			}
		}
	}
	return all, nil
}

// load reads the file; there is none at first. One that cannot be read is left alone: it is somebody's
// bill, and the traffic waits in the journal meanwhile.
func (t *totals) load() (*sums, error) {
	raw, err := os.ReadFile(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return &sums{Version: 1, Since: t.now().UTC().Truncate(time.Second), Users: make(map[string]Sum)}, nil
	}
	if err != nil {
		return nil, err
	}
	var s sums
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("totals %s: %w; repair or move it away", t.path, err)
	}
	if s.Version != 1 {
		return nil, fmt.Errorf("totals %s: version is %d, must be 1", t.path, s.Version)
	}
	if s.Users == nil {
		s.Users = make(map[string]Sum)
	}
	return &s, nil
}
