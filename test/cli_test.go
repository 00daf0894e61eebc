package test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"heki/panel/paneltest"
	"heki/test/harness"
)

// Exit codes that heki promises.
const (
	exitUsage  = 2
	exitConfig = 78
)

// heki runs a verb to its end.
func heki(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	path, err := harness.HekiBinary()
	if err != nil {
		t.Fatal(err)
	}
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

// mistakes are five, of five kinds.
const mistakes = `{
  // comments are fine
  "log": { "level": "loud" },
  "inbounds": [
    { "type": "vless", "listen": "1.2.3", "listen_port": 443, "users": [ { "name": "alice" } ] },
    { "type": "trojan", "listen_port": 444, "handshake_timeout": "5ns", "users": [ { "password": "x" } ] },
  ],
  "rout": {},
}`

func TestCheckMistakes(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/config.json"
	if err := os.WriteFile(path, []byte(mistakes), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"check", "run"} {
		stdout, stderr, code := heki(t, verb, "-c", path)
		if code != exitConfig {
			t.Errorf("%s: exit code %d, want %d", verb, code, exitConfig)
		}
		text := stdout + stderr
		for _, want := range []string{
			": log.level (line 3:", ": inbounds[0].listen (line 5:", ": inbounds[0].users[0].uuid (line 5:",
			": inbounds[1].handshake_timeout (line 6:", ": rout (line 8:", `"route"`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %s:\n%s", verb, want, text)
			}
		}
	}
}

func TestCheckGood(t *testing.T) {
	t.Parallel()
	in := harness.Road{Protocol: "vless"}.Inbound(443, nil, harness.Users())
	path := harness.WriteConfig(t, harness.JSON{"inbounds": []harness.JSON{in}, "state_dir": t.TempDir()})
	if stdout, stderr, code := heki(t, "check", "-c", path); code != 0 {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"rum"}, {"run", "--no-such-flag"}, {"generate", "nothing"}} {
		if stdout, stderr, code := heki(t, args...); code != exitUsage || stdout != "" || stderr == "" {
			t.Errorf("heki %s: exit code %d, want %d\nstdout %q\nstderr %q", strings.Join(args, " "), code, exitUsage, stdout, stderr)
		}
	}
	if _, _, code := heki(t, "check", "-c", t.TempDir()+"/missing.json"); code != exitConfig {
		t.Errorf("a missing file: exit code %d, want %d", code, exitConfig)
	}
	if stdout, _, code := heki(t, "version"); code != 0 || !strings.Contains(stdout, "heki") || !strings.Contains(stdout, "go: 1.") {
		t.Errorf("heki version: exit code %d, %q", code, stdout)
	}
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	t.Run("uuid", func(t *testing.T) {
		stdout, _, code := heki(t, "generate", "uuid")
		if code != 0 || !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n$`).MatchString(stdout) {
			t.Errorf("exit code %d, %q", code, stdout)
		}
	})
	t.Run("reality-keypair", func(t *testing.T) {
		stdout, _, code := heki(t, "generate", "reality-keypair")
		keys := regexp.MustCompile(`[A-Za-z0-9_-]{43}`).FindAllString(stdout, -1)
		if code != 0 || len(keys) != 2 {
			t.Errorf("exit code %d, %q: want two keys of 43 characters", code, stdout)
		}
	})
	t.Run("tls-keypair", func(t *testing.T) {
		stdout, stderr, code := heki(t, "generate", "tls-keypair", harness.ServerName)
		if code != 0 {
			t.Fatalf("exit code %d, %s", code, stderr)
		}
		pair, err := tls.X509KeyPair([]byte(stdout), []byte(stdout))
		if err != nil {
			t.Fatalf("%v in\n%s", err, stdout)
		}
		if err := pair.Leaf.VerifyHostname(harness.ServerName); err != nil {
			t.Error(err)
		}
	})
	t.Run("ss-key", func(t *testing.T) {
		stdout, stderr, code := heki(t, "generate", "ss-key", "2022-blake3-aes-128-gcm")
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(stdout))
		if code != 0 || err != nil || len(key) != 16 {
			t.Errorf("exit code %d, %q, %v, %s: want 16 bytes in base64", code, stdout, err, stderr)
		}
	})
}

// TestSIGTERM ends heki while a connection is open and a UDP session idles.
func TestSIGTERM(t *testing.T) {
	t.Parallel()
	port := harness.FreePort(t)
	road := harness.Road{Protocol: "trojan"}
	in := road.Inbound(port, nil, harness.Users())
	path := harness.WriteConfig(t, harness.JSON{"inbounds": []harness.JSON{in}, "state_dir": t.TempDir()})
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := harness.Run(t, harness.Heki, path)
		p.WaitPort(t, harness.Address(port))
		raw := harness.Raw{Road: road, User: harness.Users()[0], Server: harness.Address(port)}
		f := startFlow(t, raw, harness.StartTargets(t).TCP)
		start := time.Now()
		p.Signal(signal)
		select {
		case <-p.Exited():
		case <-time.After(10 * time.Second):
			t.Fatalf("still there 10 s after %s", signal)
		}
		if code, _ := p.Stop(); code != 0 {
			t.Errorf("exit code %d after %s, want 0", code, signal)
		}
		if err := <-f.ended; err == nil {
			t.Error("the connection outlived the process")
		}
		t.Logf("%s to exit: %s", signal, time.Since(start).Round(time.Millisecond))
	}
}

// TestSecondSignal does not wait for a final report to a panel that hangs.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	s := newSite(t, harness.Road{Protocol: "vless"}, 1, nil)
	p := s.start(t)
	raw := harness.Raw{Road: s.road, User: account(s.panel.Users()[0]), Server: harness.Address(s.port)}
	s.panel.Fail(paneltest.Any, paneltest.Hang(false), 100)
	startFlow(t, raw, s.targets.TCP).finish(t)
	p.Signal(syscall.SIGTERM)
	p.WaitLog(t, "stopping")
	p.Signal(syscall.SIGINT)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if code, err := p.Wait(ctx); code != 128+int(syscall.SIGINT) || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
}

// TestDemo runs what a newcomer runs first, and then the client configuration that it wrote.
func TestDemo(t *testing.T) {
	t.Parallel()
	harness.Twice(t, testDemo)
}

func testDemo(t testing.TB) {
	path, err := harness.HekiBinary()
	if err != nil {
		t.Fatal(err)
	}
	p := harness.Start(t, "heki demo", path, "demo")
	file := regexp.MustCompile(`sing-box run -c (/\S+\.json)`)
	p.WaitFor(t, "prints share links and a client configuration", func() bool {
		text := p.Log()
		return strings.Contains(text, "vless://") && strings.Contains(text, "trojan://") && file.MatchString(text)
	})
	config := file.FindStringSubmatch(p.Log())[1]
	singBox, err := harness.Binary(harness.SingBox)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(singBox, "check", "-c", config).CombinedOutput(); err != nil {
		t.Fatalf("sing-box check: %v\n%s", err, out)
	}
	ports := socksPorts(t, config)
	c := harness.Run(t, harness.SingBox, config)
	targets := harness.StartTargets(t)
	for _, port := range ports {
		c.WaitPort(t, harness.Address(port))
		harness.CheckTCP(t, harness.Socks(harness.Address(port)), targets, 1<<20)
		// No names over UDP: sing-box's selector, which the demo's file has, loses them.
		harness.CheckUDP(t, harness.Socks(harness.Address(port)), targets, harness.FullIP)
	}
	start := time.Now()
	if code, err := p.Stop(); code != 0 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("exit took %s", d)
	}
}

// socksPorts lists the ports of the SOCKS inbounds of a sing-box configuration.
func socksPorts(t testing.TB, path string) (ports []uint16) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Inbounds []struct {
			Type string
			Port uint16 `json:"listen_port"`
		}
	}
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	for _, in := range config.Inbounds {
		if in.Type == "mixed" || in.Type == "socks" {
			ports = append(ports, in.Port)
		}
	}
	if len(ports) == 0 {
		t.Fatalf("no socks or mixed inbound in %s", data)
	}
	return ports
}
