package harness

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Names of the programs that the tests run.
const (
	Heki    = "heki"
	SingBox = "sing-box"
	Xray    = "xray"
	Mihomo  = "mihomo"
	V2Ray   = "v2ray"
	HAProxy = "haproxy"

	SSLocal   = "ss-local"   // of shadowsocks-libev
	ObfsLocal = "obfs-local" // of simple-obfs, its plugin

	Pebble     = "pebble"              // a certificate authority for tests
	PebbleFake = "pebble-challtestsrv" // its DNS
)

// program is a real client: a Go module of its own below test/clients pins it.
type program struct {
	version string // as in clients/NAME/go.mod; part of the cache's folder
	main    string // import path of the main package
	tags    string
	folder  string // below clients, when it is not the program's name
}

func programOf(name string) (program, bool) {
	switch name {
	case SingBox:
		return program{"v1.14.1", "github.com/sagernet/sing-box/cmd/sing-box", "with_quic,with_utls,with_grpc,with_gvisor", ""}, true
	case Xray:
		return program{"v1.260327.0", "github.com/xtls/xray-core/main", "", ""}, true
	case Mihomo:
		return program{"v1.19.20", "github.com/metacubex/mihomo", "with_gvisor", ""}, true
	case Pebble, PebbleFake:
		return program{"v2.8.0", "github.com/letsencrypt/pebble/v2/cmd/" + name, "", Pebble}, true
	}
	return program{}, false
}

// Binary returns the path of a real client's binary. The first call on a machine builds it from
// its pinned module (minutes on two cores, said on standard error) into
//
//	${HEKI_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/heki-test}/NAME-VERSION-GOVERSION/NAME
//
// A file lock keeps test binaries that run at the same time from building it twice.
//
// Programs of Debian are unpacked there instead; see debianBinary.
func Binary(name string) (string, error) {
	if p, ok := debianOf(name); ok {
		return debianBinary(name, p)
	}
	p, ok := programOf(name)
	if !ok {
		return "", fmt.Errorf("no pinned program is called %q", name)
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, name+"-"+p.version+"-"+runtime.Version())
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil { // another test binary was faster
		return path, nil
	}
	root, err := testDir()
	if err != nil {
		return "", err
	}
	tmp := path + ".tmp"
	args := []string{"build", "-p", "2", "-trimpath", "-ldflags", "-s -w", "-tags", p.tags, "-o", tmp, p.main}
	if err := goCommand(name+" "+p.version, filepath.Join(root, "clients", cmp.Or(p.folder, name)), args...); err != nil {
		return "", err
	}
	return path, os.Rename(tmp, path) // whole or not there
}

// HekiBinary builds heki from the main module beside this one, once per test process, with the race
// detector unless HEKI_RACE=0. HEKI_BINARY names a ready binary instead.
var HekiBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("HEKI_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	root, err := testDir()
	if err != nil {
		return "", err
	}
	path := hekiPath(cache)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	args := []string{"build", "-o", path}
	if RaceEnabled() {
		args = append(args, "-race")
	}
	return path, goCommand(Heki, filepath.Dir(root), append(args, "./cmd/heki")...)
})

// RemoveHekiBinary deletes what HekiBinary built, if it did. Call it after the last test.
func RemoveHekiBinary() {
	if cache, err := cacheDir(); err == nil {
		os.Remove(hekiPath(cache))
	}
}

// hekiPath holds the process id: a shared file could be replaced while another process runs it.
func hekiPath(cache string) string {
	return filepath.Join(cache, "heki-"+runtime.Version(), fmt.Sprintf("heki-%d", os.Getpid()))
}

// RaceEnabled says whether heki is built with the race detector.
func RaceEnabled() bool { return os.Getenv("HEKI_RACE") != "0" }

// goCommand runs the go command in dir and says on standard error what takes the time.
func goCommand(what, dir string, args ...string) error {
	start := time.Now()
	fmt.Fprintf(os.Stderr, "harness: building %s (go %s)\n", what, strings.Join(args, " "))
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("build %s: %w\n%s", what, err, out)
	}
	fmt.Fprintf(os.Stderr, "harness: built %s in %s\n", what, time.Since(start).Round(100*time.Millisecond))
	return nil
}

func cacheDir() (string, error) {
	if dir := os.Getenv("HEKI_TEST_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "heki-test"), nil
}

// testDir is the folder of this module, found from the working folder of the running test.
func testDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "clients", SingBox, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run the tests inside the folder test/ of heki")
		}
		dir = parent
	}
}

// lockFile takes an exclusive lock on path and waits for whoever holds it. The lock goes away with
// the process, so a killed build leaves nothing behind.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
