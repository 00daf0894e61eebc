package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// debian is a program that is taken from the machine's Debian archive.
type debian struct {
	packages []string // its own, then the libraries that not every machine has
	path     string   // inside the first package
	version  string   // what its -v must say: a tested series
}

func debianOf(name string) (debian, bool) {
	switch name {
	case V2Ray: // the last series that speaks VMess with alterId above 0
		return debian{[]string{"v2ray"}, "usr/bin/v2ray", "V2Ray 4.34."}, true
	case HAProxy:
		return debian{[]string{"haproxy", "liblua5.3-0", "libopentracing1", "libopentracing-c-wrapper0"}, "usr/sbin/haproxy", "HAProxy version 2.6."}, true
	case SSLocal:
		return debian{append([]string{"shadowsocks-libev"}, libevLibraries()...), "usr/bin/ss-local", "shadowsocks-libev 3.3."}, true
	case ObfsLocal:
		return debian{append([]string{"simple-obfs"}, libevLibraries()...), "usr/bin/obfs-local", "simple-obfs 0.0."}, true
	}
	return debian{}, false
}

// libevLibraries are what shadowsocks-libev and its plugin need.
func libevLibraries() []string {
	return []string{"libbloom1", "libc-ares2", "libcork16", "libcorkipset1", "libev4", "libjsonparser1.1", "libmbedcrypto7", "libpcre3", "libsodium23"}
}

// debianBinary returns a program that was unpacked into the cache. The first call downloads its packages
// with apt-get, which checks them, and unpacks them with dpkg-deb. Nothing is installed, no service
// starts, and no root is needed.
func debianBinary(name string, p debian) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, name+"-debian")
	path := filepath.Join(dir, p.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	// One at a time: a fresh machine has no package lists yet, and apt-get fetches them under a lock.
	apt, err := lockFile(filepath.Join(cache, "apt.lock"))
	if err != nil {
		return "", err
	}
	defer apt()
	fmt.Fprintf(os.Stderr, "harness: unpacking %s into %s (apt-get download, dpkg-deb)\n", strings.Join(p.packages, ", "), dir)
	// The libraries first: the program's presence says that all is there.
	for i := len(p.packages) - 1; i >= 0; i-- {
		script := `set -e; rm -f "$1"_*.deb; apt-get -q -o Acquire::Retries=3 download "$1" || { apt-get -qq -o Acquire::Retries=3 update; apt-get -q -o Acquire::Retries=3 download "$1"; }; dpkg-deb -x "$1"_*.deb .; rm -f "$1"_*.deb`
		cmd := exec.Command("sh", "-c", script, "sh", p.packages[i])
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("unpack %s (without root, is apt-get update due?): %w\n%s", p.packages[i], err, out)
		}
	}
	cmd := exec.Command(path, "-version")
	switch name {
	case HAProxy:
		cmd = exec.Command(path, "-v")
	case SSLocal, ObfsLocal:
		cmd = exec.Command(path, "-h")
	}
	cmd.Env = append(os.Environ(), libraries(path)...)
	out, err := cmd.CombinedOutput()
	if err == nil && !strings.Contains(string(out), p.version) {
		err = fmt.Errorf("this machine's archive has another one than %s", p.version)
	}
	if err != nil {
		os.Remove(path)
		return "", fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return path, nil
}

// libraries is the environment that lets a program of debianBinary find its own libraries.
func libraries(path string) []string {
	matches, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "../lib/*-linux-gnu*"))
	old, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "../../lib/*-linux-gnu*"))
	matches = append(matches, old...)
	if len(matches) == 0 {
		return nil
	}
	return []string{"LD_LIBRARY_PATH=" + strings.Join(matches, ":")}
}
