package test

import (
	"crypto/tls"
	"testing"

	"heki/test/harness"
)

// rawRoads are the roads that our own client speaks.
func rawRoads() map[string]harness.Road {
	return map[string]harness.Road{
		"vless/tcp":      {Protocol: "vless"},
		"vless/tcp-tls":  {Protocol: "vless", TLS: true},
		"trojan/tcp":     {Protocol: "trojan"},
		"trojan/tcp-tls": {Protocol: "trojan", TLS: true},
		"vmess/tcp":      {Protocol: "vmess"},
		"vmess/tcp-tls":  {Protocol: "vmess", TLS: true},
	}
}

// startRaw starts a server for the road, changed by edit, and returns a client of it.
func startRaw(t testing.TB, road harness.Road, edit func(inbound harness.JSON)) (harness.Raw, *harness.Process) {
	t.Helper()
	cert := harness.NewCertificate(t)
	port := harness.FreePort(t)
	in := road.Inbound(port, cert, harness.Users())
	if edit != nil {
		edit(in)
	}
	p := harness.StartServer(t, in)
	return harness.Raw{
		Road: road, User: harness.Users()[1], Server: harness.Address(port),
		TLS: &tls.Config{RootCAs: cert.Pool, ServerName: harness.ServerName},
	}, p
}

// spareDescriptors is what a server may keep for later: pipes for splice, a resolver's sockets.
const spareDescriptors = 8

// TestRaw drives heki with our own client, which can do what no real client here does: finish one
// direction and go on with the other.
func TestRaw(t *testing.T) {
	t.Parallel()
	for name, road := range rawRoads() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if harness.UnderTest() == harness.SingBox {
				t.Log("sing-box does not forward a half-close of these protocols: its cells fail here")
			}
			raw, p := startRaw(t, road, nil)
			before := p.Descriptors()
			targets := harness.StartTargets(t)
			harness.CheckTCP(t, raw, targets, 1<<20)
			t.Run("parallel", func(t *testing.T) { harness.CheckParallel(t, raw, targets, 40) })
			t.Run("half-close", func(t *testing.T) { harness.CheckHalfClose(t, raw, targets) })
			eventually(t, "all descriptors closed", func() bool { return p.Descriptors() <= before+spareDescriptors })
		})
	}
}
