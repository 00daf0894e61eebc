package meter

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"heki/constant"
)

const (
	journalFile = "journal"
	journalNew  = "journal.new"      // being written; worthless unless renamed
	asidePrefix = "journal.corrupt-" // a file that could not be read, plus when
	// maxTagLength keeps an escaped tag inside the 255 bytes of a file name.
	maxTagLength = 200
)

// Dir returns the directory of a node's journal: state_dir/traffic/<tag>, where the tag's bytes other
// than letters, digits, - and _ are written as %XX. A very long tag is shortened and told apart by a hash.
func Dir(stateDir, tag string) string {
	var name strings.Builder
	for _, c := range []byte(tag) {
		if isPlain(c) {
			name.WriteByte(c)
		} else {
			fmt.Fprintf(&name, "%%%02X", c)
		}
	}
	if tag == "" {
		return filepath.Join(stateDir, "traffic", "%")
	}
	escaped := name.String()
	if len(escaped) > maxTagLength {
		sum := sha256.Sum256([]byte(tag))
		escaped = escaped[:maxTagLength-33] + "%" + hex.EncodeToString(sum[:16])
	}
	return filepath.Join(stateDir, "traffic", escaped)
}

// load reads the file.
func (j *Journal) load() ([]entry, error) {
	path := filepath.Join(j.dir, journalFile)
	os.Remove(filepath.Join(j.dir, journalNew)) // half written by a crash; if it stays, store overwrites it
	b, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var entries []entry
	if err == nil {
		entries, err = parseRecord(b)
	}
	if errors.Is(err, ErrCorrupt) {
		return nil, j.moveAside(path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read traffic journal: %w", err)
	}
	return entries, nil
}

// readBounded reads a file of at most constant.MaxStateFile bytes.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, constant.MaxStateFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > constant.MaxStateFile {
		return nil, fmt.Errorf("longer than %d bytes: %w", constant.MaxStateFile, ErrCorrupt)
	}
	return b, nil
}

// moveAside keeps a corrupt file under another name for a person to look at. The answer always holds why.
func (j *Journal) moveAside(path string, why error) error {
	aside := filepath.Join(j.dir, asidePrefix+strconv.FormatInt(time.Now().UnixNano(), 10))
	if err := os.Rename(path, aside); err != nil {
		// Not ErrCorrupt: the caller must not go on and overwrite the file.
		return fmt.Errorf("traffic journal %s: %s; move it aside: %w", path, why.Error(), err)
	}
	if err := syncDir(j.dir); err != nil {
		return fmt.Errorf("traffic journal %s: %s; move it aside: %w", path, why.Error(), err)
	}
	return fmt.Errorf("traffic journal moved to %s, its bytes are not reported: %w", aside, why)
}

// store replaces the file by one with these entries, or removes it when there are none.
func (j *Journal) store(entries []entry) error {
	path := filepath.Join(j.dir, journalFile)
	if len(entries) == 0 {
		return j.erase(path)
	}
	b := appendRecord(nil, entries)
	if len(b) > constant.MaxStateFile {
		return fmt.Errorf("is %d bytes, at most %d can be read back", len(b), constant.MaxStateFile)
	}
	if err := j.do("mkdir", func() error { return makeDir(j.dir) }); err != nil {
		return err
	}
	next := filepath.Join(j.dir, journalNew)
	if err := j.do("write", func() error { return writeSynced(next, b) }); err != nil {
		return err
	}
	if err := j.do("rename", func() error { return os.Rename(next, path) }); err != nil {
		return err
	}
	j.onDisk = true
	return j.do("sync", func() error { return syncDir(j.dir) })
}

func (j *Journal) erase(path string) error {
	if !j.onDisk {
		return nil
	}
	if err := j.do("remove", func() error { return os.Remove(path) }); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := j.do("sync", func() error { return syncDir(j.dir) }); err != nil {
		return err
	}
	j.onDisk = false
	return nil
}

// do runs one file operation unless a test stops it.
func (j *Journal) do(op string, run func() error) error {
	if j.step != nil {
		if err := j.step(op); err != nil {
			return err
		}
	}
	return run()
}

// makeDir makes dir and its parents and makes sure that they survive a crash.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// writeSynced writes a file that is on disk when it returns. It replaces what is there.
func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes renames in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
