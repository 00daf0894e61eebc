package app_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"heki/option"
	"heki/panel"
	"heki/route"
	"heki/route/rule"
)

// everyList knows every geo list: readers have the files.
type everyList struct{}

func (everyList) Site(string) (*rule.Domains, error) { return new(rule.Domains), nil }
func (everyList) IP(string) (*rule.Addresses, error) { return new(rule.Addresses), nil }

// documents are the texts for people.
func documents(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(docs) < 5 {
		t.Fatalf("found %q, %v", docs, err)
	}
	return append(docs, filepath.Join(root, "README.md"), filepath.Join(root, "README.zh-CN.md"), filepath.Join(root, "release", "INSTALL.md"))
}

func text(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// block is one fenced block of a document.
type block struct {
	line int    // of its fence
	info string // behind the fence
	text string
}

func blocks(t *testing.T, path string) []block {
	t.Helper()
	var all []block
	open := false
	for i, line := range strings.Split(text(t, path), "\n") {
		info, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && !open:
			all, open = append(all, block{line: i + 1, info: info}), true
		case fence:
			open = false
		case open:
			all[len(all)-1].text += line + "\n"
		}
	}
	if open {
		t.Errorf("%s: a block is not closed", path)
	}
	return all
}

// TestDocumentedConfigurations parses what readers will copy: "jsonc" is a whole configuration,
// "json nodes" the file of a local panel. No other JSON is allowed, so that none goes unchecked.
func TestDocumentedConfigurations(t *testing.T) {
	found := 0
	for _, path := range documents(t) {
		for _, b := range blocks(t, path) {
			switch {
			case b.info == "jsonc":
				found++
				o, err := option.Parse([]byte(b.text))
				if err == nil {
					err = route.Check(o.Route, everyList{})
				}
				if err != nil {
					t.Errorf("%s:%d: %v", path, b.line, err)
				}
			case b.info == "json nodes":
				found++
				checkNodes(t, path, b)
			case strings.HasPrefix(b.info, "json"):
				t.Errorf("%s:%d: write jsonc or json nodes, not %q", path, b.line, b.info)
			}
		}
	}
	if found < 8 {
		t.Errorf("only %d configurations", found)
	}
}

func checkNodes(t *testing.T, path string, b block) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nodes.json")
	if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := panel.ReadFile(file)
	if err != nil {
		t.Errorf("%s:%d: %v", path, b.line, err)
		return
	}
	for _, n := range f.Nodes {
		if _, _, err := f.Find(n.ID); err != nil {
			t.Errorf("%s:%d: %v", path, b.line, err)
		}
	}
}

// TestEveryOptionIsDocumented: a new field needs a line in docs/configuration.md.
func TestEveryOptionIsDocumented(t *testing.T) {
	doc := text(t, filepath.Join(root, "docs", "configuration.md"))
	files, err := filepath.Glob(filepath.Join(root, "option", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for name := range optionNames(t, path) {
			found++
			if !regexp.MustCompile("`([a-z_]+\\.)?" + regexp.QuoteMeta(name) + "`").MatchString(doc) {
				t.Errorf("docs/configuration.md does not mention `%s` of %s", name, path)
			}
		}
	}
	if found < 60 {
		t.Errorf("found only %d options", found)
	}
}

// optionNames are the JSON names of the exported structs in a source file.
func optionNames(t *testing.T, path string) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		of, ok := spec.Type.(*ast.StructType)
		if !ok || !spec.Name.IsExported() {
			return false
		}
		for _, field := range of.Fields.List {
			if field.Tag == nil {
				continue
			}
			tag := reflect.StructTag(strings.Trim(field.Tag.Value, "`"))
			if name, _, _ := strings.Cut(tag.Get("json"), ","); name != "" && name != "-" {
				names[name] = true
			}
		}
		return false
	})
	return names
}

// TestLinks: a link to a file of this repository leads somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	for _, path := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text(t, path), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

// TestReadmesAgree: the Chinese README says the same, so it has the same sections, commands and
// configurations.
func TestReadmesAgree(t *testing.T) {
	shape := func(path string) []string {
		var out []string
		for line := range strings.Lines(text(t, path)) {
			if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "|") {
				out = append(out, line[:1])
			}
		}
		for _, b := range blocks(t, path) {
			out = append(out, b.info)
			for line := range strings.Lines(b.text) { // comments are translated
				code, _, _ := strings.Cut(line, "#")
				code, _, _ = strings.Cut(code, " //")
				if b.info != "" {
					out = append(out, strings.TrimSpace(code))
				}
			}
		}
		return out
	}
	english, chinese := shape(filepath.Join(root, "README.md")), shape(filepath.Join(root, "README.zh-CN.md"))
	if !slices.Equal(english, chinese) {
		t.Errorf("README.md and README.zh-CN.md differ:\n%q\n%q", english, chinese)
	}
}
