package local

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"heki/internal/meter"
	"heki/option"
	"heki/panel"
)

const file = `{ "version": 1,
  "nodes": [ { "id": 1, "protocol": "vless", "port": 8443, "pull_interval": 10 },
             { "id": 2, "protocol": "trojan", "port": 443, "network": "ws", "path": "/x", "tls": 1,
               "users": [ { "id": 9, "uuid": "bob", "password": "secret" } ] } ],
  "users": [ { "id": 1, "name": "alice", "uuid": "b831381d-6324-4d53-ad4f-8cda48b30811", "speed_limit_mbps": 100, "ip_limit": 3 } ] }`

func newClient(t *testing.T, path string, id int64) *Client {
	t.Helper()
	env := panel.Env{Tag: panel.Tag("files", id), Dir: filepath.Join(t.TempDir(), "local"), Now: time.Now}
	return New(env, &option.Panel{Type: "local", Path: path}, &option.PanelNode{ID: id})
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.json")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	nodes, err := Nodes(&option.Panel{Path: path})
	if err != nil || len(nodes) != 2 || nodes[1].ID != 2 {
		t.Fatalf("nodes = %+v, %v", nodes, err)
	}
	c := newClient(t, path, 2)
	n, err := c.Node(ctx)
	if err != nil || n.Protocol != "trojan" || n.Network != "ws" || n.TLS != panel.TLSOn {
		t.Fatalf("node = %+v, %v", n, err)
	}
	users, err := c.Users(ctx)
	if err != nil || len(users) != 1 || users[0].Password != "secret" || users[0].Name != "9" {
		t.Fatalf("users = %+v, %v", users, err)
	}
	if _, err := c.Node(ctx); !errors.Is(err, panel.ErrNotModified) {
		t.Errorf("second Node: %v", err)
	}
	if _, err := c.Users(ctx); !errors.Is(err, panel.ErrNotModified) {
		t.Errorf("second Users: %v", err)
	}
	one := newClient(t, path, 1)
	n, err = one.Node(ctx)
	if err != nil || n.Pull != 10*time.Second {
		t.Fatalf("node 1 = %+v, %v", n, err)
	}
	users, _ = one.Users(ctx)
	if len(users) != 1 || users[0].Name != "alice" || users[0].SpeedBytes != 12_500_000 || users[0].IPLimit != 3 || users[0].Password != "b831381d-6324-4d53-ad4f-8cda48b30811" {
		t.Errorf("users of the file = %+v", users)
	}

	changed := strings.Replace(file, "8443", "8444", 1)
	if err := panel.WriteAtomic(path, []byte(changed)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Now(), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err = one.Node(ctx); err != nil || n.Port != 8444 {
		t.Errorf("after the change: %+v, %v", n, err)
	}
}

// TestTerms: who is expired or over the quota is left out, the moment that is so, and comes back when it is not.
func TestTerms(t *testing.T) {
	dir, now := t.TempDir(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	path := filepath.Join(dir, "users.json")
	const text = `{ "version": 1, "nodes": [ { "id": 1, "protocol": "vless", "port": 1 }, { "id": 12, "protocol": "vless", "port": 2 } ],
	  "users": [ { "id": 1, "uuid": "a" }, { "id": 2, "uuid": "b", "expires": "2026-01-31T00:00:00+08:00" }, { "id": 3, "uuid": "c", "quota_bytes": 100 } ] }`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	client := func(id int64) *Client {
		env := panel.Env{Tag: panel.Tag("files", id), Dir: filepath.Join(dir, "local"), Now: func() time.Time { return now }}
		c := New(env, &option.Panel{Type: "local", Path: path}, &option.PanelNode{ID: id})
		if _, err := c.Node(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	one, twelve := client(1), client(12)
	want := func(ids string) {
		t.Helper()
		users, err := one.Users(t.Context())
		got := ""
		for _, u := range users {
			got += u.Name
		}
		if errors.Is(err, panel.ErrNotModified) {
			got, err = "same", nil
		}
		if err != nil || got != ids {
			t.Errorf("users %s, %v, want %s", got, err, ids)
		}
	}
	want("123")
	want("same")
	if err := errors.Join(one.ReportTraffic(t.Context(), []meter.Traffic{{ID: 3, Up: 50}}), twelve.ReportTraffic(t.Context(), []meter.Traffic{{ID: 3, Down: 49}, {ID: 1, Up: 1000}})); err != nil {
		t.Fatal(err)
	}
	want("same")
	if err := twelve.ReportTraffic(t.Context(), []meter.Traffic{{ID: 3, Up: 1}}); err != nil {
		t.Fatal(err)
	}
	want("12")
	now = time.Date(2026, 1, 30, 16, 0, 0, 0, time.UTC)
	want("1")
	if err := os.RemoveAll(filepath.Join(dir, "local")); err != nil { // a new month
		t.Fatal(err)
	}
	want("13")
}

func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"not JSON", `{`, "users.json"},
		{"unknown member", strings.Replace(file, "ip_limit", "iplimit", 1), "unknown field: iplimit"},
		{"version", strings.Replace(file, `"version": 1`, `"version": 2`, 1), "version: is 2"},
		{"no such node", strings.Replace(file, `"id": 1, "protocol"`, `"id": 7, "protocol"`, 1), "has no node 1"},
		{"protocol", strings.Replace(file, "vless", "tuic", 1), "node 1 is tuic"},
		{"no uuid", strings.Replace(file, `"b831381d-6324-4d53-ad4f-8cda48b30811"`, `""`, 1), "users[0].uuid"},
		{"long uuid", strings.Replace(file, `"b831381d-6324-4d53-ad4f-8cda48b30811"`, `"`+strings.Repeat("x", 40)+`"`, 1), "users[0].uuid"},
		{"no id", strings.Replace(file, `"id": 1, "name"`, `"name"`, 1), "users[0].id"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "users.json")
			if err := os.WriteFile(path, []byte(tt.in), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := newClient(t, path, 1).Node(context.Background())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTotals(t *testing.T) {
	c := newClient(t, "none", 1)
	ctx := context.Background()
	for range 2 {
		if err := c.ReportTraffic(ctx, []meter.Traffic{{ID: 1, Name: "alice", Up: 1, Down: 10}, {ID: 2, Name: "2", Up: 5}}); err != nil {
			t.Fatal(err)
		}
	}
	again := &Client{totals: totals{path: c.totals.path, now: time.Now}} // the next process
	if err := again.ReportTraffic(ctx, []meter.Traffic{{ID: 1, Name: "alice", Down: 1}}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(c.totals.path)
	if err != nil {
		t.Fatal(err)
	}
	var s sums
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if got := s.Users["1"]; got != (Sum{"alice", 2, 21}) || s.Users["2"].Up != 10 {
		t.Errorf("totals = %+v", s.Users)
	}
	if err := os.WriteFile(c.totals.path, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := &Client{totals: totals{path: c.totals.path, now: time.Now}}
	var e *panel.Error
	if err := broken.ReportTraffic(ctx, []meter.Traffic{{ID: 1, Up: 1}}); !errors.As(err, &e) || e.Class != panel.Refused {
		t.Errorf("garbage totals: %v", err)
	}
}
