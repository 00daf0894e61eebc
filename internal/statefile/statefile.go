// Package statefile writes the files of state_dir.
package statefile

import (
	"os"
	"path/filepath"
)

// Write writes data to path so that a reader, also after a crash, finds the old file or the new one and
// nothing between. Only the process's user may read it. A folder that is missing is made.
func Write(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	h, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			h.Close()
			os.Remove(h.Name())
		}
	}()
	if _, err := h.Write(data); err != nil {
		return err
	}
	if err := h.Sync(); err != nil {
		return err
	}
	if err := h.Close(); err != nil {
		return err
	}
	if err := os.Rename(h.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
