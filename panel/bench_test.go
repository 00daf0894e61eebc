package panel_test

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"testing"
	"time"

	"heki/adapter"
	"heki/internal/meter"
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

// BenchmarkNodes prints what a node costs beside its listener: 64 of one panel, synced and idle. Goal: 2 MB
// for all 64 and two goroutines each.
func BenchmarkNodes(b *testing.B) {
	const nodes = 64
	for range b.N {
		p := paneltest.New(token)
		o := option.Panel{Name: "main", Type: "xboard", URL: "http://panel.test", Key: token, APIVersion: 2, Timeout: option.Duration(15 * time.Second)}
		for id := 1; id <= nodes; id++ {
			p.SetNode(paneltest.Node{ID: id, Protocol: "vless", Port: 10000 + id})
			o.Nodes = append(o.Nodes, option.PanelNode{ID: int64(id)})
		}
		p.SetUser(paneltest.User{ID: 1})
		h := newHost()
		before, routines := heap(), runtime.NumGoroutine()
		s, err := panel.New(panel.Config{
			Options: []option.Panel{o}, StateDir: b.TempDir(), Host: h, HTTP: &paneltest.Wire{Panel: p},
			Limits: option.Limits{IPExpiry: option.Duration(time.Minute), CIDRv4: 32, CIDRv6: 128},
			Kinds:  map[string]panel.Kind{"xboard": xboard.Kind()}, Ledger: meter.NewLedger(),
		})
		if err != nil {
			b.Fatal(err)
		}
		s.Start()
		for served := 0; served < nodes; runtime.Gosched() {
			served = 0
			for _, st := range s.Status() {
				if st.Serving && !st.Synced.IsZero() {
					served++
				}
			}
		}
		b.ReportMetric(float64(heap()-before)/nodes/1024, "KiB/node")
		b.ReportMetric(float64(runtime.NumGoroutine()-routines)/nodes, "goroutines/node")
		if err := s.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// heap is what lives on it.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
