package panel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	jsoniter "github.com/json-iterator/go"

	"heki/adapter"
	"heki/internal/meter"
)

// snapshot is the last good settings and users of one node on disk.
type snapshot struct {
	path string
	id   int64
}

// newSnapshot names the file as the node's journal is named: state_dir/panels/<tag>.json.
func newSnapshot(stateDir, tag string, id int64) snapshot {
	name := filepath.Base(meter.Dir(stateDir, tag)) + ".json"
	return snapshot{path: filepath.Join(stateDir, "panels", name), id: id}
}

// errNoSnapshot: there is none, which is no mistake.
var errNoSnapshot = errors.New("no snapshot")

func (s snapshot) exists() bool {
	_, err := os.Stat(s.path)
	return err == nil
}

// load reads the snapshot. One that cannot be used is moved aside, so that it is neither tried again
// nor overwritten, and the error says where it is.
func (s snapshot) load() (n *Node, accounts []adapter.Account, saved time.Time, err error) {
	f, err := ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, saved, errNoSnapshot
	}
	if err == nil {
		if n, accounts, err = f.Find(s.id); err == nil {
			if f.Saved != nil {
				saved = *f.Saved
			}
			return n, accounts, saved, nil
		}
	}
	aside := s.path + ".corrupt"
	if moveErr := os.Rename(s.path, aside); moveErr != nil {
		return nil, nil, saved, fmt.Errorf("snapshot: %w (and it cannot be moved aside: %w)", err, moveErr)
	}
	return nil, nil, saved, fmt.Errorf("snapshot: %w; moved to %s", err, aside)
}

// save replaces the snapshot.
func (s snapshot) save(n *Node, accounts []adapter.Account, now time.Time) error {
	raw, err := jsoniter.ConfigCompatibleWithStandardLibrary.Marshal(fileOf(s.id, n, accounts, now))
	if err == nil {
		err = WriteAtomic(s.path, raw)
	}
	if err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	return nil
}

func (s snapshot) remove() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
