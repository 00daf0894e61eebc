package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/spf13/cobra"

	"heki/constant"
)

// output runs a command and returns what it prints.
func output(t *testing.T, c *cobra.Command, args ...string) (string, error) {
	t.Helper()
	out := new(bytes.Buffer)
	c.SetOut(out)
	c.SetErr(io.Discard)
	c.SilenceUsage, c.SilenceErrors = true, true
	c.SetArgs(append([]string{}, args...)) // never nil, which is the arguments of the test binary
	err := c.Execute()
	return out.String(), err
}

func mustOutput(t *testing.T, c *cobra.Command, args ...string) string {
	t.Helper()
	text, err := output(t, c, args...)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return text
}

func TestGenerateUUID(t *testing.T) {
	lines := strings.Fields(mustOutput(t, generateCommand(), "uuid", "-n", "3"))
	seen := make(map[string]bool)
	for _, line := range lines {
		if id, err := uuid.FromString(line); err != nil || id.Version() != uuid.V4 {
			t.Errorf("%q is no random UUID: %v", line, err)
		}
		seen[line] = true
	}
	if len(lines) != 3 || len(seen) != 3 {
		t.Errorf("got %q, want three different", lines)
	}
	// From Xray: `xray uuid -i example`.
	if got, want := mustOutput(t, generateCommand(), "uuid", "--name", "example"), "feb54431-301b-52bb-a6dd-e1e93e81bb9e\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGenerateReality(t *testing.T) {
	text := mustOutput(t, generateCommand(), "reality-keypair")
	lines := strings.Split(text, "\n")
	if len(lines) != 3 {
		t.Fatalf("got %q", text)
	}
	decode := func(line, name string) []byte {
		value, ok := strings.CutPrefix(line, name+": ")
		raw, err := base64.RawURLEncoding.DecodeString(value)
		if !ok || err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return raw
	}
	private, err := ecdh.X25519().NewPrivateKey(decode(lines[0], "PrivateKey"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := decode(lines[1], "PublicKey"), private.PublicKey().Bytes(); !bytes.Equal(got, want) {
		t.Errorf("public key is %x, want %x", got, want)
	}
}

func TestGenerateTLS(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		days int // at least
	}{
		{"example.org", nil, 365},
		{"192.0.2.1", []string{"--days", "7"}, 7},
		{"::1", []string{"-d", "1"}, 1},
		{"example.org", []string{"-m", "2"}, 59},
	} {
		text := mustOutput(t, generateCommand(), append([]string{"tls-keypair", tt.name}, tt.args...)...)
		block, rest := pem.Decode([]byte(text))
		if block == nil || block.Type != "PRIVATE KEY" {
			t.Fatalf("%s: no private key first:\n%s", tt.name, text)
		}
		pair, err := tls.X509KeyPair(rest, pem.EncodeToMemory(block))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(pair.Leaf)
		almost := time.Now().AddDate(0, 0, tt.days).Add(-time.Minute)
		for _, now := range []time.Time{time.Now(), almost} {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: "[" + tt.name + "]", Roots: roots, CurrentTime: now}); err != nil {
				if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: tt.name, Roots: roots, CurrentTime: now}); err != nil {
					t.Errorf("%s: %v", tt.name, err)
				}
			}
		}
		if late := time.Now().AddDate(0, 0, tt.days+5); pair.Leaf.NotAfter.After(late) {
			t.Errorf("%s: valid until %s", tt.name, pair.Leaf.NotAfter)
		}
	}
}

func TestGenerateSSKey(t *testing.T) {
	for method, size := range map[string]int{
		"2022-blake3-aes-128-gcm":       16,
		"2022-blake3-aes-256-gcm":       32,
		"2022-blake3-chacha20-poly1305": 32,
	} {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(mustOutput(t, generateCommand(), "ss-key", method)))
		if err != nil || len(raw) != size {
			t.Errorf("%s: %d bytes, %v", method, len(raw), err)
		}
	}
	for _, method := range ssMethods() {
		first := mustOutput(t, generateCommand(), "ss-key", method)
		if second := mustOutput(t, generateCommand(), "ss-key", method); len(first) < 20 || first == second {
			t.Errorf("%s: %q, then %q", method, first, second)
		}
	}
}

func TestGenerateMistakes(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"uuid -n 0", "-n is 0, must be 1 to 100000"},
		{"uuid -n 2 --name x", "none of the others can be"},
		{"uuid 1", "unknown command"},
		{"tls-keypair", "accepts 1 arg(s)"},
		{"tls-keypair a.example -d 0", "must be valid for 1 to 36500 days"},
		{"tls-keypair a.example -m -1", "must be valid for 1 to 36500 days"},
		{"tls-keypair a.example -d 36501", "must be valid for 1 to 36500 days"},
		{"ss-key rc4-md5", "must be one of 2022-blake3-aes-128-gcm, "},
		{"nothing", "unknown command"},
	} {
		_, err := output(t, generateCommand(), strings.Fields(tt.args)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: err = %v, want %q", tt.args, err, tt.want)
		}
	}
}

func TestVersion(t *testing.T) {
	if got, want := mustOutput(t, versionCommand(), "--short"), constant.Version+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := mustOutput(t, versionCommand()); !strings.HasPrefix(got, "heki "+constant.Version+"\ngo: 1.") {
		t.Errorf("got %q", got)
	}
	info := &debug.BuildInfo{Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc"},
		{Key: "vcs.time", Value: "2026-11-22T15:04:05Z"},
		{Key: "vcs.modified", Value: "true"},
		{Key: "-tags", Value: "debug"},
	}}
	want := "\nrevision: abc with changes 2026-11-22T15:04:05Z\ntags: debug\n"
	if got := versionText(info); !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want %q at the end", got, want)
	}
	if got := versionText(nil); strings.Count(got, "\n") != 2 {
		t.Errorf("without build info: %q", got)
	}
}
