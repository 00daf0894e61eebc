package option

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

// maxFile bounds one file of the configuration; 10 000 users take about 2 MiB.
const maxFile = 64 << 20

// Load reads the configuration at path: a file, or all *.json of a directory (not of those below it,
// and no hidden ones) in the order of their names. The files of a directory become one: lists are
// appended, objects merged; anything else set in two files is a mistake that names both.
//
// checks look for mistakes beyond this package's knowledge and run even when there are others: what
// could not be decoded is then at its zero value, and what is out of bounds is still there. What a
// check says of a place with a mistake, or of an entry that holds one, is dropped.
//
// The error is Mistakes, each with its file, or the reason why a file cannot be read.
func Load(path string, checks ...func(*Options) error) (*Options, error) {
	files, err := configFiles(path)
	if err != nil {
		return nil, err
	}
	var (
		src      sources
		root     *hujson.Value
		mistakes Mistakes
		base     int
	)
	for _, file := range files {
		data, err := readFile(file)
		if err != nil {
			return nil, err
		}
		one := newSource(file, base, withoutBOM(data))
		base += len(one.text) + 1
		tree, m := parseTree(one)
		if m != nil {
			mistakes = append(mistakes, m)
			continue
		}
		src = append(src, one)
		if root == nil {
			root = tree
			continue
		}
		merge("", src, root, tree, &mistakes)
	}
	if len(src) < len(files) { // a file is missing from the tree: what else is wrong would mislead
		mistakes.sort()
		return nil, mistakes
	}
	o := &Options{Folder: folderOf(files[0])}
	more := make([]func() error, len(checks))
	for i, check := range checks {
		more[i] = func() error { return check(o) }
	}
	if err := decodeTree(src, root, mistakes, o, more...); err != nil {
		return nil, err
	}
	return o, nil
}

// folderOf is where file is, or "" when that cannot be known.
func folderOf(file string) string {
	file, err := filepath.Abs(file)
	if err != nil {
		return ""
	}
	return filepath.Dir(file)
}

// configFiles returns path itself, or the configuration files of the directory path.
func configFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // in the order of their names
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".json") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("directory %s: holds no *.json file", path)
	}
	return files, nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("read %s: has %d bytes, must have at most %d", path, info.Size(), maxFile)
	}
	return os.ReadFile(path)
}

// merge moves the members of from, an object of the last file of src, into the object to. Offsets tell
// the files apart. What stands twice in from itself is left for the decoder to find.
func merge(at Path, src sources, to, from *hujson.Value, mistakes *Mistakes) {
	target, ok1 := to.Value.(*hujson.Object)
	source, ok2 := from.Value.(*hujson.Object)
	if !ok1 || !ok2 {
		return
	}
	older := len(target.Members)
	index := make(map[string]int, older)
	for i := older - 1; i >= 0; i-- {
		index[textOf(&target.Members[i].Name)] = i
	}
	seen := make(map[string]bool, len(source.Members))
	for _, m := range source.Members {
		name := textOf(&m.Name)
		i, known := index[name]
		if !known || seen[name] {
			target.Members = append(target.Members, m)
			continue
		}
		seen[name] = true
		mergeMember(at.Key(name), src, &target.Members[i].Value, &m.Value, mistakes)
	}
}

func mergeMember(at Path, src sources, old, added *hujson.Value, mistakes *Mistakes) {
	oldKind, newKind := old.Value.Kind(), added.Value.Kind()
	switch {
	case at == "$schema": // editors want it in every file
	case oldKind == '{' && newKind == '{':
		merge(at, src, old, added, mistakes)
	case oldKind == '[' && newKind == '[':
		list, _ := old.Value.(*hujson.Array)
		more, _ := added.Value.(*hujson.Array)
		list.Elements = slices.Concat(list.Elements, more.Elements)
	default:
		first, line, column := src.locate(old.StartOffset)
		m := &Mistake{Path: at, Text: fmt.Errorf("is set in %s line %d:%d too; keep one", first, line, column)}
		src.place(m, added.StartOffset)
		*mistakes = append(*mistakes, m)
	}
}
