package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the repository, seen from this folder.
const root = "../.."

// layer says what of heki the packages at path may import. "x/..." is x and everything below it. A
// package belongs to the longest path that fits. .golangci.yml says the same to editors.
type layer struct {
	path string
	may  []string
}

func layers() []layer {
	contracts := []string{"adapter", "constant", "option"}
	with := func(more ...string) []string { return append(slices.Clone(contracts), more...) }
	return []layer{
		{"adapter", nil},
		{"constant", nil},
		{"option", []string{"constant"}},
		{"internal/netio", nil},
		{"internal/statefile", nil},
		{"internal/protocol/...", []string{"internal/protocol/..."}},
		{"internal/log", []string{"constant", "option"}},
		{"internal/meter", contracts},
		{"dns/...", with("dns/...")},
		{"transport/...", []string{"constant", "option", "internal/netio", "internal/statefile", "transport/..."}},
		{"route/...", with("internal/netio", "route/...")},
		{"inbound/...", with("transport/...", "internal/protocol/...", "internal/netio", "inbound/...")},
		{"outbound/...", with("transport/...", "internal/protocol/...", "internal/netio", "outbound/...")},
		{"panel/...", with("internal/meter", "internal/statefile", "panel/...")},
		{"internal/admin", with("internal/meter", "panel")},
		{"internal/app", []string{"..."}},
		{"cmd/heki/...", with("internal/app", "internal/log", "internal/meter", "internal/protocol/...", "panel/...", "cmd/heki/...")},
	}
}

// fits reports whether pkg is path, or below it when path ends in "...".
func fits(path, pkg string) bool {
	tree, ok := strings.CutSuffix(path, "...")
	if !ok {
		return pkg == path
	}
	return strings.HasPrefix(pkg+"/", tree)
}

func layerOf(pkg string) (layer, bool) {
	var best layer
	for _, l := range layers() {
		if fits(l.path, pkg) && len(l.path) > len(best.path) {
			best = l
		}
	}
	return best, best.path != ""
}

// listed is what we read of `go list -json`.
type listed struct {
	Dir, ImportPath                    string
	Imports, TestImports, XTestImports []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	var all []listed
	d := json.NewDecoder(bytes.NewReader(goOutput(t, "list", "-e", "-json=Dir,ImportPath,Imports,TestImports,XTestImports", "./...")))
	for {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	return all
}

func goOutput(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func TestImportRules(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, "heki/")
		own, ok := layerOf(name)
		if !ok {
			t.Errorf("package %s has no import rule: add it to architecture.md §2, here and in .golangci.yml", name)
			continue
		}
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if why := forbidden(own, name, imported); why != "" {
				t.Errorf("%s imports %s: %s", name, imported, why)
			}
		}
	}
}

// forbidden says why pkg may not import the package, or "".
func forbidden(own layer, pkg, imported string) string {
	if inner, ok := strings.CutPrefix(imported, "heki/"); ok {
		if inner == pkg { // an external test
			return ""
		}
		for _, may := range own.may {
			if fits(may, inner) {
				return ""
			}
		}
		return "architecture.md §2 lets it import only " + strings.Join(own.may, ", ")
	}
	if rest, ok := strings.CutPrefix(imported, "github.com/sagernet/sing/"); ok {
		if slices.Contains(singParts(), rest) {
			return ""
		}
		return "of sing only " + strings.Join(singParts(), ", ")
	}
	if (strings.HasPrefix(imported, "github.com/sagernet/sing-quic") || strings.HasPrefix(imported, "github.com/sagernet/quic-go")) &&
		pkg != "inbound/hysteria2" {
		return "only inbound/hysteria2 may, for its congestion controllers"
	}
	return ""
}

func singParts() []string {
	return []string{"common/buf", "common/bufio", "common/control", "common/domain", "common/json", "common/metadata", "common/network"}
}

// TestRules tries the rules themselves: each "never" of architecture.md §2 must be one.
func TestRules(t *testing.T) {
	for _, tt := range []struct {
		pkg, imported string
		ok            bool
	}{
		{"route", "heki/inbound", false},
		{"route/rule", "heki/outbound", false},
		{"route", "heki/panel", false},
		{"route", "heki/transport", false},
		{"route", "heki/route/rule", true},
		{"inbound/vless", "heki/outbound", false},
		{"inbound/vless", "heki/inbound", true},
		{"outbound/direct", "heki/inbound", false},
		{"panel", "heki/inbound", false},
		{"panel/xboard", "heki/internal/meter", true},
		{"dns", "heki/internal/app", false},
		{"cmd/heki", "heki/internal/app", true},
		{"internal/app", "heki/panel/xboard", true},
		{"internal/protocol/vless", "heki/adapter", false},
		{"internal/protocol/vless", "heki/option", false},
		{"internal/protocol/vless", "heki/internal/protocol/address", true},
		{"adapter", "heki/option", false},
		{"option", "heki/constant", true},
		{"optional", "heki/constant", false}, // no such layer
		{"adapter", "github.com/sagernet/sing/common/metadata", true},
		{"adapter", "github.com/sagernet/sing/common/uot", false},
		{"route", "github.com/sagernet/sing-quic/hysteria2", false},
	} {
		own, known := layerOf(tt.pkg)
		if got := known && forbidden(own, tt.pkg, tt.imported) == ""; got != tt.ok {
			t.Errorf("%s imports %s: allowed = %v, want %v", tt.pkg, tt.imported, got, tt.ok)
		}
	}
}

// banned are modules whose services, pipes and policies would become ours. test/clients may use them.
func banned() []string {
	return []string{
		"github.com/sagernet/sing-box",
		"github.com/sagernet/sing-vmess",
		"github.com/sagernet/sing-shadowsocks",
		"github.com/sagernet/sing-shadowsocks2",
		"github.com/xtls/xray-core",
		"github.com/v2fly/v2ray-core",
		"github.com/metacubex/mihomo",
		"github.com/Dreamacro/clash",
	}
}

func TestModules(t *testing.T) {
	var mod struct {
		Require []struct{ Path string }
		Replace []struct{ Old struct{ Path string } }
	}
	if err := json.Unmarshal(goOutput(t, "mod", "edit", "-json"), &mod); err != nil {
		t.Fatal(err)
	}
	for _, r := range mod.Require {
		for _, ban := range banned() {
			if r.Path == ban || strings.HasPrefix(r.Path, ban+"/v") {
				t.Errorf("go.mod requires %s", r.Path)
			}
		}
	}
	for _, r := range mod.Replace { // `go install heki/cmd/heki@version` would refuse it
		t.Errorf("go.mod replaces %s", r.Old.Path)
	}
}

// TestSource checks what imports do not show: no init, and codecs without clock, dialing or listening.
func TestSource(t *testing.T) {
	for _, p := range packages(t) {
		codec := strings.HasPrefix(p.ImportPath, "heki/internal/protocol/")
		err := filepath.WalkDir(p.Dir, func(path string, d fs.DirEntry, err error) error {
			if d != nil && d.IsDir() && path != p.Dir {
				return fs.SkipDir
			}
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			checkSource(t, path, codec)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func checkSource(t *testing.T, path string, codec bool) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				t.Errorf("%s: init hides the order of things; register in internal/app", files.Position(n.Pos()))
			}
		case *ast.SelectorExpr:
			if pkg, ok := n.X.(*ast.Ident); codec && ok && impure(pkg.Name, n.Sel.Name) {
				t.Errorf("%s: a codec may not use %s.%s; take it as a parameter", files.Position(n.Pos()), pkg.Name, n.Sel.Name)
			}
		case *ast.ImportSpec:
			if p, err := strconv.Unquote(n.Path.Value); err == nil && codec && slices.Contains([]string{"log/slog", "math/rand"}, p) {
				t.Errorf("%s: a codec may not import %s", files.Position(n.Pos()), p)
			}
		}
		return true
	})
}

// impure reports whether pkg.name reads the clock, reaches the network or draws from the generator that all share. Timers may
// be: a demultiplexer serves deadlines. So may crypto/rand for padding, and generators that take their seed.
func impure(pkg, name string) bool {
	switch pkg {
	case "rand":
		return !slices.Contains([]string{"NewChaCha8", "ChaCha8", "NewPCG", "PCG", "New", "Rand", "Read", "Reader"}, name)
	case "time":
		return slices.Contains([]string{"Now", "Since", "Sleep"}, name)
	case "net":
		return strings.HasPrefix(name, "Dial") || strings.HasPrefix(name, "Listen") || strings.HasPrefix(name, "Lookup") || strings.HasPrefix(name, "Resolve")
	}
	return false
}
