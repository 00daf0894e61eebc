package app

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestAdmin: the admin server tells of the file's inbounds, follows a reload and ends with heki.
func TestAdmin(t *testing.T) {
	first, second := freePort(t), freePort(t)
	config := func(admin any) object {
		o := object{"inbounds": []object{trojanInbound("in", freePort(t), object{"name": "alice", "password": "one"}, object{"name": "bob", "password": "two"})}}
		if admin != nil {
			o["admin"] = admin
		}
		return o
	}
	at := func(port int) object { return object{"listen": fmt.Sprintf("127.0.0.1:%d", port)} }
	ask := func(port int, path string) (string, error) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	file := config(at(first))
	app := run(t, file)
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/status": `"users": 2`, "/metrics": `heki_node_users{node="in",panel="",protocol=""} 2`} {
		if got, err := ask(first, path); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %v, %q, want %q", path, err, got, want)
		}
	}
	file["admin"] = at(second)
	if err := app.Reload(load(t, file)); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(second, "/healthz"); err != nil || got != "ok\n" {
		t.Errorf("after the reload: %v, %q", err, got)
	}
	if got, err := ask(first, "/healthz"); err == nil {
		t.Errorf("the former address answers %q", got)
	}
	delete(file, "admin")
	if err := app.Reload(load(t, file)); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(second, "/healthz"); err == nil {
		t.Errorf("without admin: %q", got)
	}
}
