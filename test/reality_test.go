package test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"heki/test/harness"
)

// realityRoads are the transports that a client has with REALITY.
func realityRoads(client string) map[string]harness.Road {
	roads := map[string]harness.Road{
		"tcp":  {},
		"grpc": {Transport: "grpc"},
	}
	switch client {
	case harness.SingBox: // Xray refuses REALITY with WebSocket and has no HTTP/2
		roads["ws"] = harness.Road{Transport: "ws"}
		roads["http"] = harness.Road{Transport: "http"}
		roads["upgrade"] = harness.Road{Transport: "httpupgrade"}
	}
	return roads
}

// TestReality drives VLESS over REALITY: client × transport, and each lane of the client.
func TestReality(t *testing.T) {
	for _, client := range []string{harness.SingBox, harness.Xray, harness.Mihomo} {
		t.Run(client, func(t *testing.T) {
			for name, road := range realityRoads(client) {
				road.Protocol = "vless"
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					road.Reality = harness.StartReality(t)
					testLanes(t, client, road, harness.Users(), realityLanes(client, road))
				})
			}
		})
	}
}

func realityLanes(client string, road harness.Road) []lane {
	if client == harness.Mihomo {
		return mihomoLanes(road)
	}
	return lanes(client, road)
}

// TestRealityBrowsers shakes hands as each browser that the clients can copy with REALITY: what all three
// call android and 360 are ClientHellos of TLS 1.2 without a key share (TestOldBrowsers in
// transport/reality). A randomized one names groups that its client cannot do, and fails when the target
// asks for one; hence a target that does not.
func TestRealityBrowsers(t *testing.T) {
	for _, client := range []string{harness.SingBox, harness.Xray, harness.Mihomo} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			t.Run("browsers", func(t *testing.T) {
				testBrowsers(t, client, harness.StartReality(t), "chrome", "firefox", "safari", "ios", "edge", "qq", "random")
			})
			t.Run("randomized", func(t *testing.T) {
				testBrowsers(t, client, harness.StartReality(t, tls.X25519), "randomized")
			})
		})
	}
}

func testBrowsers(t *testing.T, client string, r *harness.Reality, names ...string) {
	var list []lane
	for i, name := range names {
		l := harness.Lane{Name: name, User: harness.Users()[i%3], UTLS: name}
		list = append(list, lane{Lane: l, tcp: true, size: 64 << 10, udp: harness.Symmetric})
	}
	testLanes(t, client, harness.Road{Protocol: "vless", Reality: r}, harness.Users(), list)
}

// TestRealityProbes looks at the server as those do who are no users: they see the target.
func TestRealityProbes(t *testing.T) {
	t.Parallel()
	harness.Twice(t, testRealityProbes)
}

func testRealityProbes(t testing.TB) {
	road := harness.Road{Protocol: "vless", Reality: harness.StartReality(t)}
	cert, port := road.Reality.Certificate, harness.FreePort(t)
	p := harness.StartServer(t, road.Inbound(port, cert, harness.Users()))
	url := fmt.Sprintf("https://%s:%d/", harness.ServerName, port)
	resolve := fmt.Sprintf("%s:%d:%s", harness.ServerName, port, harness.Loopback)
	for name, args := range map[string][]string{
		"curl":          {"--cacert", cert.CAPath},
		"curl HTTP/1.1": {"--cacert", cert.CAPath, "--http1.1"},
		"curl TLS 1.2":  {"--cacert", cert.CAPath, "--tls-max", "1.2"},
	} {
		harness.Part(t, name, func(t testing.TB) {
			out, err := exec.Command("curl", append(args, "-sS", "-m", "20", "--resolve", resolve, url)...).CombinedOutput()
			if err != nil || string(out) != harness.TargetPage {
				t.Errorf("got %q, %v", out, err)
			}
		})
	}
	for name, server := range map[string]string{"openssl": harness.ServerName, "openssl, another name": "other.example"} {
		harness.Part(t, name, func(t testing.TB) {
			cmd := exec.Command("openssl", "s_client", "-connect", harness.Address(port), "-servername", server, "-CAfile", cert.CAPath, "-ign_eof")
			cmd.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
			out, _ := cmd.CombinedOutput() // HTTP/1.0: the site closes
			for _, want := range []string{"Verify return code: 0 (ok)", harness.TargetPage} {
				if !bytes.Contains(out, []byte(want)) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
		})
	}
	harness.Part(t, "noise", func(t testing.TB) {
		noise := make([]byte, 700)
		io.ReadFull(harness.Stream(11), noise)
		for _, data := range [][]byte{noise, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), {22, 3, 1, 0, 0}} {
			got, want := askRaw(t, port, data), askRaw(t, road.Reality.Target, data)
			if !bytes.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})
	p.WaitLog(t, "relayed to the target")
}

// askRaw returns all that the server at port answers to data and an end.
func askRaw(t testing.TB, port uint16, data []byte) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", harness.Address(port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	conn.Write(data)
	conn.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return got
}

// TestRealityReplay sends what a real client has sent once more: it meets the target.
func TestRealityReplay(t *testing.T) {
	t.Parallel()
	harness.Twice(t, testRealityReplay)
}

func testRealityReplay(t testing.TB) {
	road := harness.Road{Protocol: "vless", Reality: harness.StartReality(t)}
	cert, port, targets := road.Reality.Certificate, harness.FreePort(t), harness.StartTargets(t)
	p := harness.StartServer(t, road.Inbound(port, cert, harness.Users()))
	tap, recorded := harness.StartTap(t, port)
	c := harness.StartClient(t, harness.SingBox, road, tap, cert, harness.Lane{Name: "plain", User: harness.Users()[0]})
	harness.CheckTCP(t, c.Socks("plain"), targets, 64<<10)
	answer := askRaw(t, port, recorded())
	if len(answer) == 0 || answer[0] != 22 {
		t.Errorf("got %x", answer)
	}
	p.WaitLog(t, "replayed ClientHello")
}

// TestCheckOnline asks the target: it fits, or check says what is wrong and still succeeds.
func TestCheckOnline(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		reality *harness.Reality
		names   []string
		want    []string
	}{
		"good": {harness.StartReality(t), []string{harness.ServerName}, nil},
		"bad":  {harness.StartReality(t, tls.CurveP384), []string{harness.ServerName, "other.example"}, []string{"HelloRetryRequest", "another name"}},
	} {
		in := harness.Road{Protocol: "vless", Reality: tt.reality}.Inbound(harness.FreePort(t), nil, harness.Users())
		in["tls"].(harness.JSON)["reality"].(harness.JSON)["server_names"] = tt.names
		_, stderr, code := heki(t, "check", "--online", "-c", harness.WriteConfig(t, harness.JSON{"inbounds": []harness.JSON{in}}))
		if got := strings.Count(stderr, "warning:"); code != 0 || got != len(tt.want) {
			t.Errorf("%s: %d warnings, exit code %d:\n%s", name, got, code, stderr)
		}
		for _, want := range tt.want {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: no %q in:\n%s", name, want, stderr)
			}
		}
	}
}

// TestRealityKeys lets a client use a pair from heki generate.
func TestRealityKeys(t *testing.T) {
	t.Parallel()
	stdout, _, code := heki(t, "generate", "reality-keypair")
	var private, public string
	if _, err := fmt.Sscanf(stdout, "PrivateKey: %s\nPublicKey: %s\n", &private, &public); err != nil || code != 0 {
		t.Fatalf("%q, %v", stdout, err)
	}
	r := harness.StartReality(t)
	r.Private, r.Public = private, public
	l := lane{Lane: harness.Lane{Name: "plain", User: harness.Users()[0]}, tcp: true, size: 64 << 10, udp: harness.Symmetric}
	testLanes(t, harness.SingBox, harness.Road{Protocol: "vless", Reality: r}, harness.Users(), []lane{l})
}
