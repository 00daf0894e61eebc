package match

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestSaveLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sources")
	s := NewSources(testMark)
	if err := s.Load(path, someTime); err != nil {
		t.Errorf("no file: %v", err)
	}
	for i := range 2 { // the second save replaces a file
		s.Note(addrOf(i), UserID(i+1), someTime)
		if err := s.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again := NewSources(testMark)
	if err := again.Load(path, someTime); err != nil || len(again.now) != 2 {
		t.Errorf("%d addresses, %v", len(again.now), err)
	}
	if err := s.Save(filepath.Join(dir, "missing", "sources")); err == nil {
		t.Error("saved to a folder that is not there")
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(filepath.Join(dir, "folder")); err == nil {
		t.Error("saved over a folder")
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*.*")); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
	for _, bad := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte{1}, maxSourcesFile+1)} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := NewSources(testMark).Load(path, someTime); !errors.Is(err, errSources) {
			t.Errorf("a file of %d bytes: %v", len(bad), err)
		}
	}
}
