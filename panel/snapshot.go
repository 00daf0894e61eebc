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
	"heki/constant"
	"heki/internal/meter"
)

// snapshot is the last good settings and users of one node on disk. The rules that hold on every node of its panel
// are in a file beside them.
type snapshot struct {
	path  string
	rules string
	id    int64
}

// newSnapshot names the file as the node's journal is named: state_dir/panels/<tag>.json.
func newSnapshot(stateDir, tag string, id int64) snapshot {
	path := filepath.Join(stateDir, "panels", filepath.Base(meter.Dir(stateDir, tag)))
	return snapshot{path: path + ".json", rules: path + ".rules", id: id}
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
	return errors.Join(removeFile(s.path), removeFile(s.rules))
}

// removeFile removes a file that need not be there.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// saveRules replaces the rules of every node of the panel. Without any there is no file.
func (s snapshot) saveRules(rules []Rule) error {
	if len(rules) == 0 {
		return removeFile(s.rules)
	}
	raw, err := jsoniter.ConfigCompatibleWithStandardLibrary.Marshal(rules)
	if err == nil {
		err = WriteAtomic(s.rules, raw)
	}
	if err != nil {
		return fmt.Errorf("save rules: %w", err)
	}
	return nil
}

// loadRules reads them. A file that cannot be used is in the error, and replaced when the panel answers.
func (s snapshot) loadRules() ([]Rule, error) {
	h, err := os.Open(s.rules)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer h.Close()
	raw, err := readAtMost(h, constant.MaxStateFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.rules, err)
	}
	var rules []Rule
	if err := jsoniter.ConfigCompatibleWithStandardLibrary.Unmarshal(raw, &rules); err != nil {
		return nil, fmt.Errorf("%s holds no rules: %w", s.rules, err)
	}
	return rules, nil
}
