package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	"go.uber.org/goleak"

	"heki/internal/protocol/trojan"
	"heki/internal/protocol/vless"
	"heki/option"
	"heki/panel/paneltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// object is a piece of JSON.
type object = map[string]any

// load parses v as a configuration.
func load(t testing.TB, v object) *option.Options {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	o, err := option.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// running is an App with its log.
type running struct {
	*App
}

func run(t testing.TB, v object) *running {
	t.Helper()
	r := new(running)
	a, err := New(load(t, v), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r.App = a
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := a.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// echo answers with what it reads.
func echo(t testing.TB) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	conns := make(chan struct{}, 10000)
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- struct{}{}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
				<-conns
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for i := 0; i < 500 && len(conns) > 0; i++ {
			time.Sleep(10 * time.Millisecond)
		}
	})
	return l.Addr().(*net.TCPAddr)
}

func dial(t testing.TB, port int) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask opens a Trojan connection to dst, sends text and expects it back. The connection stays open.
func ask(t testing.TB, port int, password string, dst net.Addr, text string) (net.Conn, error) {
	t.Helper()
	c := dial(t, port)
	header := trojan.AppendRequest(nil, trojan.Request{
		Key: trojan.KeyOf(password), Command: trojan.CommandTCP, Destination: M.SocksaddrFromNet(dst),
	})
	if _, err := c.Write(append(header, text...)); err != nil {
		return c, err
	}
	return c, expect(c, text)
}

func expect(c net.Conn, text string) error {
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if string(b) != text {
		return fmt.Errorf("got %q, want %q", b, text)
	}
	return nil
}

func again(c net.Conn, text string) error {
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	return expect(c, text)
}

// isCut says whether c ends.
func isCut(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(time.Minute))
	_, err := c.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func trojanInbound(tag string, port int, users ...object) object {
	return object{"type": "trojan", "tag": tag, "listen": "127.0.0.1", "listen_port": port, "handshake_timeout": "3s", "users": users}
}

func TestReloadTouchesOnlyWhatChanged(t *testing.T) {
	dst := echo(t)
	same, users, moved, gone := freePort(t), freePort(t), freePort(t), freePort(t)
	alice, bob := object{"name": "alice", "password": "a"}, object{"name": "bob", "password": "b"}
	a := run(t, object{"inbounds": []object{
		trojanInbound("same", same, alice), trojanInbound("users", users, alice, bob),
		trojanInbound("moved", moved, alice), trojanInbound("gone", gone, alice),
	}})
	conns := make(map[string]net.Conn)
	for name, port := range map[string]int{"same": same, "users": users, "moved": moved, "gone": gone} {
		c, err := ask(t, port, "a", dst, "hello")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		conns[name] = c
	}
	removed, err := ask(t, users, "b", dst, "hello")
	if err != nil {
		t.Fatal(err)
	}
	movedTo := freePort(t)
	if err := a.Reload(load(t, object{"inbounds": []object{
		trojanInbound("same", same, alice), trojanInbound("users", users, alice, object{"name": "carol", "password": "c"}),
		trojanInbound("moved", movedTo, alice),
	}})); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"same", "users", "moved"} {
		if err := again(conns[name], "still here"); err != nil {
			t.Errorf("connection on %q: %v", name, err)
		}
	}
	if !isCut(removed) {
		t.Error("a removed user's connection lives on")
	}
	if !isCut(conns["gone"]) {
		t.Error("a removed inbound's connection lives on")
	}
	if _, err := ask(t, users, "c", dst, "new user"); err != nil {
		t.Error(err)
	}
	if _, err := ask(t, movedTo, "a", dst, "new port"); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", gone)); err == nil {
		t.Error("a removed inbound still listens")
	}
}

func TestReloadKeepsTheOldOnError(t *testing.T) {
	dst := echo(t)
	port := freePort(t)
	alice := object{"name": "alice", "password": "a"}
	a := run(t, object{"inbounds": []object{trojanInbound("in", port, alice)}})
	c, err := ask(t, port, "a", dst, "hello")
	if err != nil {
		t.Fatal(err)
	}
	bad := load(t, object{"inbounds": []object{trojanInbound("in", port, object{"name": "alice", "password": "new"})}})
	bad.Route.Audit = []string{"regexp:("}
	if err := a.Reload(bad); err == nil || !strings.Contains(err.Error(), "route.audit[0]") {
		t.Fatalf("err = %v", err)
	}
	if err := again(c, "still here"); err != nil {
		t.Error(err)
	}
	if _, err := ask(t, port, "a", dst, "old password"); err != nil {
		t.Error(err)
	}
}

// TestReloadKeepsDNSOnError: a mistake in the outbounds, which only building them shows, leaves the servers too.
func TestReloadKeepsDNSOnError(t *testing.T) {
	dns := object{"servers": []object{{"address": "192.0.2.1"}}}
	config := object{"dns": dns, "inbounds": []object{trojanInbound("in", freePort(t))}}
	a := run(t, config)
	before := a.resolver.client.Load()
	bad := load(t, object{
		"dns": object{"servers": []object{{"address": "192.0.2.2"}}}, "inbounds": config["inbounds"],
		"outbounds": []object{{"type": "direct", "tag": "out", "bind_interface": "nowhere0"}},
	})
	if err := a.Reload(bad); err == nil || !strings.Contains(err.Error(), "nowhere0") {
		t.Fatalf("err = %v, want one about the interface", err)
	}
	if a.resolver.client.Load() != before {
		t.Error("the servers of a configuration that is not used are asked")
	}
	if _, err := a.resolver.Lookup(t.Context(), "in", "127.0.0.1"); err != nil {
		t.Error(err)
	}
}

func TestPanelUsersComeAndGo(t *testing.T) {
	dst := echo(t)
	port := freePort(t)
	p := paneltest.New("token")
	alice, bob := p.SetUser(paneltest.User{ID: 1}), p.SetUser(paneltest.User{ID: 2})
	p.SetNode(paneltest.Node{ID: 1, Protocol: "vless", Port: port, Network: "tcp", Push: 60, Pull: 60})
	server, err := paneltest.Start(p)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Down()
	a := run(t, object{
		"panels": []object{{
			"name": "p", "type": "xboard", "url": server.URL, "key": "token",
			"nodes": []object{{"id": 1, "listen": "127.0.0.1"}},
		}},
		"state_dir": filepath.Join(t.TempDir(), "state"),
	})
	waitFor(t, "node", func() bool { return a.inbounds.Get("panel/p/1") != nil })
	open := func(uuid string) (net.Conn, error) {
		c := dial(t, port)
		id, err := option.ParseUUID(uuid)
		if err != nil {
			t.Fatal(err)
		}
		header := vless.AppendRequest(nil, vless.Request{UUID: id, Command: vless.CommandTCP, Destination: M.SocksaddrFromNet(dst)})
		if _, err := c.Write(append(header, "hello"...)); err != nil {
			return c, err
		}
		return c, expect(c, "\x00\x00hello")
	}
	stays, err := open(alice.UUID)
	if err != nil {
		t.Fatal(err)
	}
	rekeyed, err := open(bob.UUID)
	if err != nil {
		t.Fatal(err)
	}
	p.Rekey(2)
	carol := p.SetUser(paneltest.User{ID: 3})
	a.panels.SyncNow("")
	if !isCut(rekeyed) {
		t.Error("an old credential's connection lives on")
	}
	if err := again(stays, "still here"); err != nil {
		t.Error(err)
	}
	if _, err := open(carol.UUID); err != nil {
		t.Error(err)
	}
	stays.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		t.Error(err)
	}
	if got, want := server.Traffic(1, 1), (paneltest.Traffic{Up: 15, Down: 15}); got != want {
		t.Errorf("alice was billed %+v, want %+v", got, want)
	}
	if got := server.Total(); got.Up != 25 || got.Down != 25 {
		t.Errorf("billed %+v in all, want 25 each way", got)
	}
}

func TestTwoProcessesOnOneStateDir(t *testing.T) {
	dir := t.TempDir()
	v := object{
		"panels":    []object{{"type": "xboard", "url": "http://127.0.0.1:1", "key": "token", "nodes": []object{{"id": 1}}}},
		"state_dir": dir,
	}
	run(t, v)
	_, err := New(load(t, v), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("err = %v, want one that names %s", err, dir)
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("no %s after a minute", what)
}
