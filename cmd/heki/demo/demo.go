// Package demo runs heki's main job for a newcomer: a simulated XBoard on loopback, the real panel
// service against it, real inbounds, and a few built-in clients that use them.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"heki/constant"
	"heki/internal/app"
	"heki/internal/log"
	"heki/option"
	"heki/panel/paneltest"
)

// Options of a demo.
type Options struct {
	Out       io.Writer
	Dir       string        // for the files it writes; empty: a temporary one, removed at the end
	For       time.Duration // 0: until ctx is done
	Every     time.Duration // between two live lines
	NoTraffic bool          // no built-in clients
}

// token and serverName are what the simulated panel and its nodes use.
const (
	token      = "demo-server-token"
	serverName = "demo.heki.test"
	panelName  = "demo"
	interval   = 5 * time.Second
)

// Run runs the demo until ctx is done or o.For is over.
func Run(ctx context.Context, o Options) (err error) {
	if o.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.For)
		defer cancel()
	}
	dir, clean, err := directory(o.Dir)
	if err != nil {
		return err
	}
	defer clean()
	w, err := newWorld(dir)
	if err != nil {
		return err
	}
	defer w.target.close()
	defer w.panel.Down()
	a, err := w.start(dir)
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.Background(), constant.StopTimeout)
		defer cancel()
		err = errors.Join(err, a.Close(stopping))
		fmt.Fprintf(o.Out, "\nstopped; the panel has been told of %s in all\n", size(w.reported()))
	}()
	if err := w.ready(ctx); err != nil {
		return err
	}
	client, err := w.writeClient(dir)
	if err != nil {
		return err
	}
	w.print(o.Out, dir, client)
	if !o.NoTraffic {
		stop, err := w.traffic()
		if err != nil {
			return err
		}
		defer stop()
		fmt.Fprintln(o.Out, "Two built-in clients download through the trojan node, as alice and bob; the panel is told every few seconds.")
	}
	w.live(ctx, o, a)
	return nil
}

// directory returns where files go and what removes them.
func directory(dir string) (string, func(), error) {
	if dir != "" {
		dir, err := filepath.Abs(dir)
		if err != nil {
			return "", nil, err
		}
		return dir, func() {}, os.MkdirAll(dir, 0o700)
	}
	dir, err := os.MkdirTemp("", "heki-demo-")
	return dir, func() { os.RemoveAll(dir) }, err
}

// world is the demo's surroundings: a panel with users and nodes, and a certificate.
type world struct {
	panel *paneltest.Server
	nodes []paneltest.Node
	users []paneltest.User
	cert  []byte // PEM
	names map[int]string

	target *target
}

// newWorld fills a panel: three users, one node for each protocol that XBoard has and heki serves.
func newWorld(dir string) (*world, error) {
	w := &world{names: map[int]string{1: "alice", 2: "bob", 3: "carol"}}
	var err error
	if w.cert, err = writeCertificate(dir, serverName); err != nil {
		return nil, err
	}
	p := paneltest.New(token)
	for _, u := range []paneltest.User{{ID: 1}, {ID: 2, SpeedMbps: 50}, {ID: 3, DeviceLimit: 2}} {
		w.users = append(w.users, p.SetUser(u))
	}
	if w.target, err = newTarget(dir); err != nil {
		return nil, err
	}
	ports, err := freePorts(7)
	if err != nil {
		return nil, err
	}
	seconds := int(interval / time.Second)
	w.nodes = []paneltest.Node{
		{ID: 1, Protocol: constant.TypeVLESS, Port: ports[0], Network: "ws", Path: "/chat", TLS: 1, ServerName: serverName, Push: seconds, Pull: seconds},
		{ID: 2, Protocol: constant.TypeTrojan, Port: ports[1], Network: "tcp", TLS: 1, ServerName: serverName, Push: seconds, Pull: seconds},
		{ID: 3, Protocol: constant.TypeVMess, Port: ports[2], Network: "tcp", Push: seconds, Pull: seconds},
		{ID: 4, Protocol: constant.TypeAnyTLS, Port: ports[3], TLS: 1, ServerName: serverName, Push: seconds, Pull: seconds},
		{ID: 5, Protocol: constant.TypeHysteria2, Port: ports[4], TLS: 1, ServerName: serverName, Push: seconds, Pull: seconds},
		w.target.node(paneltest.Node{ID: 6, Protocol: constant.TypeVLESS, Port: ports[5], Network: "tcp", Push: seconds, Pull: seconds}),
		{ID: 7, Protocol: constant.TypeShadowsocks, Port: ports[6], Cipher: ssMethod, ServerKey: ssServerKey, Push: seconds, Pull: seconds},
	}
	for _, n := range w.nodes {
		p.SetNode(n)
	}
	w.panel, err = paneltest.Start(p)
	return w, err
}

// start writes the configuration that an operator would write, and runs it.
func (w *world) start(dir string) (*app.App, error) {
	type object = map[string]any
	var nodes []object
	for _, n := range w.nodes {
		nodes = append(nodes, object{"id": n.ID})
	}
	text, err := json.MarshalIndent(object{
		"log": object{"level": "warn"},
		"panels": []object{{
			"name": panelName, "type": constant.PanelXBoard, "url": w.panel.URL, "key": token, "nodes": nodes,
			"node_defaults": object{
				"listen": "127.0.0.1",
				"tls": object{
					"certificate_path": filepath.Join(dir, certFile), "key_path": filepath.Join(dir, keyFile),
					// XBoard's target is the server name; nobody resolves the demo's.
					"reality": object{"handshake": object{"server": "127.0.0.1", "server_port": w.target.port}},
				},
			},
		}},
		"state_dir": filepath.Join(dir, "state"),
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "heki.json")
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return nil, err
	}
	options, err := option.Load(path)
	if err != nil {
		return nil, err
	}
	logger, err := log.New(options.Log)
	if err != nil {
		return nil, err
	}
	a, err := app.New(options, logger.Slog())
	if err != nil {
		return nil, err
	}
	return a, a.Start()
}

// live prints a line now and then until ctx is done.
func (w *world) live(ctx context.Context, o Options, a *app.App) {
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	var last int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s := a.Stats()
		moved := s.Up + s.Down
		mbits := float64(moved-last) * 8 / 1e6 / o.Every.Seconds()
		last = moved
		fmt.Fprintf(o.Out, "%s  %d nodes  users %d (%d online)  connections %d  %6.1f Mbit/s  moved %s  reported %s\n",
			time.Now().Format("15:04:05"), len(w.nodes), len(w.users), s.Online, s.Conns, mbits, size(moved), size(w.reported()))
	}
}

// reported is what the panel has booked.
func (w *world) reported() int64 {
	t := w.panel.Total()
	return t.Up + t.Down
}

// size writes a number of bytes for people.
func size(n int64) string {
	const unit = 1024
	switch {
	case n < unit:
		return fmt.Sprintf("%d B", n)
	case n < unit*unit:
		return fmt.Sprintf("%.1f KiB", float64(n)/unit)
	case n < unit*unit*unit:
		return fmt.Sprintf("%.1f MiB", float64(n)/unit/unit)
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/unit/unit/unit)
}
