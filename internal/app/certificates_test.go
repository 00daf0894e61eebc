package app

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"heki/option"
)

func parsed(t *testing.T, text string) *option.Options {
	t.Helper()
	o, err := option.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// A provider that there is not is found before anything starts, and checking writes nothing.
func TestCheckCertificates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	const inbound = `{"type": "trojan", "listen_port": 443, "users": [{"password": "p"}], "tls": {"enabled": true, "server_name": "a.example", `
	good := `{"state_dir": "` + dir + `", "inbounds": [` + inbound + `"acme": {"dns01_challenge": {"provider": "dns_cf", "env": {"CF_Token": "t"}}}}}, ` +
		strings.Replace(inbound, "443", "444", 1) + `"self_signed": true}}]}`
	if err := Check(parsed(t, good)); err != nil {
		t.Error(err)
	}
	err := Check(parsed(t, strings.Replace(good, "dns_cf", "clodflare", 1)))
	if err == nil || !strings.Contains(err.Error(), `provider "clodflare" is unknown`) || !strings.Contains(err.Error(), "inbounds[0]") && !strings.Contains(err.Error(), "acme.dns01_challenge") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a check has made the state directory")
	}
}

// Certificates of heki's own are state, also without a panel: a second process may not use it.
func TestCertificateState(t *testing.T) {
	dir := t.TempDir()
	o := `{"state_dir": "` + dir + `", "inbounds": [{"type": "trojan", "listen": "127.0.0.1", "listen_port": ` + strconv.Itoa(freePort(t)) + `, "users": [{"password": "p"}], "tls": {"enabled": true, "server_name": "a.example", "self_signed": true}}]}`
	log := slog.New(slog.DiscardHandler)
	a, err := New(parsed(t, o), log)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil {
		t.Error(err)
	}
	if _, err := New(parsed(t, o), log); err == nil || !strings.Contains(err.Error(), "another heki") {
		t.Errorf("a second process: %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "acme", "self-signed", "*.pem")); len(files) != 1 {
		t.Errorf("certificates: %q", files)
	}
	if err := a.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
