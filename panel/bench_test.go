package panel_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"heki/adapter"
	"heki/option"
	"heki/panel"
	"heki/panel/paneltest"
	"heki/panel/xboard"
)

const manyUsers = 50_000

// BenchmarkPull fetches and decodes 50 000 users from the simulator over loopback. Goal: 150 ms.
func BenchmarkPull(b *testing.B) {
	p := paneltest.New(token)
	p.SetNode(paneltest.Node{ID: 1, Protocol: "vless", Port: 1})
	users := make([]paneltest.User, manyUsers)
	for i := range users {
		users[i] = paneltest.User{ID: i + 1, UUID: paneltest.NewUUID(), SpeedMbps: i % 3 * 100, DeviceLimit: i % 5}
	}
	p.SetUsers(users)
	server, err := paneltest.Start(p)
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	newClient := func() panel.Client {
		env := panel.Env{HTTP: &http.Client{Transport: transport}, Now: time.Now, Say: func(slog.Level, string, ...any) {}}
		c, err := xboard.New(env, &option.Panel{URL: server.URL, Key: token}, &option.PanelNode{ID: 1})
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	pull := func(c panel.Client) []adapter.Account {
		accounts, err := c.Users(context.Background())
		if err != nil || len(accounts) != manyUsers {
			b.Fatalf("%d users, %v", len(accounts), err)
		}
		return accounts
	}
	pull(newClient()) // the simulator caches its answer
	b.Run("changed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			pull(newClient())
		}
		b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/pull")
	})
	b.Run("not modified", func(b *testing.B) {
		c := newClient()
		pull(c)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Users(context.Background()); err != panel.ErrNotModified {
				b.Fatal(err)
			}
		}
	})
}
