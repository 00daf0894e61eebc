package match

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// maxMark bounds a mark in bytes.
const maxMark = 64

// maxSourcesFile bounds the file in bytes: both halves full, every entry at its longest.
const maxSourcesFile = maxMark + 2*sourceLimit*(sourceFront+8*SourceUsers)

// Load adds what Save wrote to path. A file that is not there is nothing to add.
func (s *Sources) Load(path string, now time.Time) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(maxSourcesFile)+1))
	if err == nil && len(b) > maxSourcesFile {
		err = fmt.Errorf("%w: more than %d bytes", errSources, maxSourcesFile)
	}
	if err == nil {
		err = s.Import(b, now)
	}
	if err != nil {
		return fmt.Errorf("known sources of %s: %w", path, err)
	}
	return nil
}

// Save writes what is remembered to path, whole or not at all, readable for the owner only.
func (s *Sources) Save(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("save known sources: %w", err)
	}
	_, err = f.Write(s.Export())
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("save known sources: %w", err), os.Remove(f.Name()))
	}
	return nil
}
