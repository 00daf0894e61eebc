package test

import (
	"context"
	"strings"
	"testing"
	"time"

	"heki/test/harness"
)

// anyTLSRoad is the one road of AnyTLS.
var anyTLSRoad = harness.Road{Protocol: "anytls", TLS: true}

// customPadding is a scheme that no client knows by itself.
var customPadding = []string{"stop=4", "0=40-90", "1=200-300", "2=300-400,c,200-700", "3=50-60"}

// anyTLSLanes are a plain lane and one with a browser's TLS.
func anyTLSLanes() []lane {
	users := harness.Users()
	utls := harness.Lane{Name: "utls", User: users[1], UTLS: "chrome"}
	return []lane{
		{Lane: harness.Lane{Name: "plain", User: users[0]}, tcp: true, udp: harness.Full},
		{Lane: utls, tcp: true, size: small, udp: harness.Full},
	}
}

// TestAnyTLS drives sing-box and mihomo with the default padding.
func TestAnyTLS(t *testing.T) {
	for _, client := range []string{harness.SingBox, harness.Mihomo} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			testLanes(t, client, anyTLSRoad, harness.Users(), anyTLSLanes())
		})
	}
}

// startAnyTLS runs a server with a padding scheme and a client with one lane for each user.
func startAnyTLS(t testing.TB, client string, scheme []string) (*harness.Process, *harness.Client, *harness.Targets) {
	t.Helper()
	targets, cert, port := harness.StartTargets(t), harness.NewCertificate(t), harness.FreePort(t)
	in := anyTLSRoad.Inbound(port, cert, harness.Users())
	if scheme != nil {
		in["padding_scheme"] = scheme
	}
	server := harness.StartServer(t, in)
	var lanes []harness.Lane
	for _, u := range harness.Users() {
		lanes = append(lanes, harness.Lane{Name: u.Name, User: u})
	}
	return server, harness.StartClient(t, client, anyTLSRoad, port, cert, lanes...), targets
}

// TestAnyTLSPadding has a scheme of the server's own: clients learn it in their first session, and the
// sessions after that, which use it, work as well.
func TestAnyTLSPadding(t *testing.T) {
	for _, client := range []string{harness.SingBox, harness.Mihomo} {
		harness.Cell(t, client, func(t testing.TB) { testAnyTLSPadding(t, client) })
	}
}

func testAnyTLSPadding(t testing.TB, client string) {
	_, c, targets := startAnyTLS(t, client, customPadding)
	socks := c.Socks("alice")
	harness.CheckParallel(t, socks, targets, 1)  // learns the scheme
	harness.CheckParallel(t, socks, targets, 40) // more sessions, with the scheme
	harness.CheckTCP(t, socks, targets, small)
	harness.CheckUDP(t, socks, targets, harness.Full)
	if client == harness.SingBox {
		if log := c.Log(); strings.Contains(log, "Update padding failed") || !strings.Contains(log, "Update padding succeed") {
			t.Error("the client did not take the scheme")
		}
	}
}

// TestAnyTLSReuse opens connections one after another: they share one session.
func TestAnyTLSReuse(t *testing.T) {
	t.Parallel()
	harness.Twice(t, testAnyTLSReuse)
}

func testAnyTLSReuse(t testing.TB) {
	server, c, targets := startAnyTLS(t, harness.SingBox, nil)
	before := server.Descriptors()
	for range 50 {
		harness.CheckParallel(t, c.Socks("alice"), targets, 1)
		time.Sleep(5 * time.Millisecond) // the client puts a session back after its stream has ended, soon as a rule
	}
	if after := server.Descriptors(); after > before+25 {
		t.Errorf("%d descriptors after 50 connections, %d before", after, before)
	}
}

// TestAnyTLSRefusedDial tells the client at once that nobody listens, and the session goes on.
func TestAnyTLSRefusedDial(t *testing.T) {
	t.Parallel()
	harness.Twice(t, testAnyTLSRefusedDial)
}

func testAnyTLSRefusedDial(t testing.TB) {
	_, c, targets := startAnyTLS(t, harness.SingBox, nil)
	harness.CheckParallel(t, c.Socks("alice"), targets, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := c.Socks("alice").Dial(ctx, harness.Address(harness.FreePort(t)))
	if err == nil {
		defer conn.Close()
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("a connection to nobody answers")
		}
	}
	harness.CheckParallel(t, c.Socks("alice"), targets, 3)
}
