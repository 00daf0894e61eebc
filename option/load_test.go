package option

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeFiles makes a directory of files.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoadFile(t *testing.T) {
	dir := writeFiles(t, map[string]string{"good.json": inboundWith(`"tag": "x"`), "bad.json": "{\n\"inbounds\": 1}"})
	o, err := Load(filepath.Join(dir, "good.json"))
	if err != nil || o.Inbounds[0].Tag != "x" || o.Folder != dir {
		t.Fatalf("got %v, %v", o, err)
	}
	bad := filepath.Join(dir, "bad.json")
	_, err = Load(bad)
	compareLines(t, lines(err), []string{bad + `: inbounds (line 2:13): is a number, must be a list: [ … ]`})
	if _, err := Load(filepath.Join(dir, "none.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that the file does not exist", err)
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "holds no *.json file") {
		t.Errorf("empty directory: got %v", err)
	}
}

func TestLoadDirectory(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"10-base.json":  `{"$schema": "x", "log": {"level": "debug"}, "inbounds": [{"type": "vless", "tag": "a", "listen_port": 1}]} // end`,
		"20-more.json":  "\ufeff" + `{"$schema": "x", "log": {"format": "json"}, "inbounds": [{"type": "vless", "tag": "b", "listen_port": 2}], "state_dir": "/s"}`,
		".hidden.json":  `garbage`,
		"readme.txt":    `garbage`,
		"30-route.json": `{"outbounds": [{"type": "direct", "tag": "d"}], "route": {"final": "d"}}`,
	})
	if err := os.Mkdir(filepath.Join(dir, "sub.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	o, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if o.Folder != dir {
		t.Errorf("folder %q", o.Folder)
	}
	if len(o.Inbounds) != 2 || o.Inbounds[0].Tag != "a" || o.Inbounds[1].Tag != "b" {
		t.Errorf("inbounds %+v", o.Inbounds)
	}
	if o.Log.Level != "debug" || o.Log.Format != "json" || o.StateDir != "/s" || o.Route.Final != "d" {
		t.Errorf("not merged: %+v", o)
	}
}

func TestLoadDirectoryMistakes(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"a.json": "{\"log\": {\"level\": \"info\"},\n \"inbounds\": [{\"type\": \"vless\", \"tag\": \"a\", \"listen_port\": 1}]}",
		"b.json": "{\"log\": {\"level\": \"warn\", \"level\": \"x\"},\n \"inbounds\": [{\"type\": \"vless\", \"tag\": \"a\", \"listen_port\": \"2\"}], \"dns\": {}, \"dns\": {}}",
		"c.json": "{\"inbounds\": {}, \"state_dir\": \"here\"}",
	})
	a, b, c := filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json"), filepath.Join(dir, "c.json")
	_, err := Load(dir)
	compareLines(t, lines(err), []string{
		b + `: log.level (line 1:19): is set in ` + a + ` line 1:19 too; keep one`,
		b + `: log.level (line 1:27): is set twice, first in ` + a + ` line 1:10; keep one`,
		b + `: inbounds[1].tag (line 2:40): "a" is also the tag of inbounds[0]; tags must be unique`,
		b + `: inbounds[1].listen_port (line 2:60): is a string, must be a port from 1 to 65535, without quotes`,
		b + `: dns (line 2:78): is set twice, first in line 2:67; keep one`,
		c + `: inbounds (line 1:14): is set in ` + a + ` line 2:14 too; keep one`,
		c + `: state_dir (line 1:31): is "here", must be an absolute path such as /var/lib/heki`,
	})
	if err := os.WriteFile(a, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(dir)
	compareLines(t, lines(err), []string{
		a + `: line 1:2: the file ends here, but the "{" of line 1:1 is not closed: "}" is missing`,
		c + `: line 1:1: the file holds a list, must hold an object: { … }`,
	})
}

// What a check finds gets its line, unless a mistake at or below its place explains it already.
func TestLoadChecks(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"c.json": "{\"inbounds\": [{\"type\": \"vless\", \"listen_port\": 1},\n{\"type\": \"vless\"}],\n\"route\": {\"audit\": [\"\"], \"whitelist\": [\"a\", \"b\"]}}",
	})
	file := filepath.Join(dir, "c.json")
	_, err := Load(file, func(o *Options) error {
		return errors.Join(
			Path("inbounds[0].tls").Errorf("no such file"),
			Path("inbounds[1]").Errorf("cannot listen"),
			Path("inbounds[1].listen_port").Errorf("is 0"),
			Path("route.audit[0]").Errorf("is no rule"),
			Path("route.whitelist[1]").Errorf("is no rule"),
		)
	}, func(*Options) error { return errors.New("no place") })
	compareLines(t, lines(err), []string{
		file + `: line 1:1: no place`,
		file + `: inbounds[0].tls (line 1:15): no such file`,
		file + `: inbounds[1].listen_port (line 2:1): is required, 1 to 65535`,
		file + `: route.audit (line 3:20): is empty, must be a rule line such as "domain:example.org"; "*" matches everything`,
		file + `: route.whitelist[1] (line 3:45): is no rule`,
	})
	ran := false
	if _, err := Load(filepath.Join(writeFiles(t, map[string]string{"a.json": inboundWith(`"tag": "x"`)}), "a.json"),
		func(o *Options) error { ran = o.Inbounds[0].Tag == "x"; return nil }); err != nil || !ran {
		t.Errorf("a good file: %v, check ran: %v", err, ran)
	}
}
