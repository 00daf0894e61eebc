package test

import (
	"testing"

	"heki/test/harness"
)

// TestFlowRefused lets a client ask for a flow that its user lacks: it reaches nothing, and the
// server's log says why in a line that an operator finds.
func TestFlowRefused(t *testing.T) {
	t.Parallel()
	harness.Twice(t, testFlowRefused)
}

func testFlowRefused(t testing.TB) {
	cert, targets, port := harness.NewCertificate(t), harness.StartTargets(t), harness.FreePort(t)
	road := harness.Road{Protocol: "vless", TLS: true}
	p := harness.StartServer(t, road.Inbound(port, cert, harness.Users()))
	user := harness.Users()[0]
	c := harness.StartClient(t, harness.SingBox, road, port, cert, harness.Lane{Name: "vision", User: user, Flow: "xtls-rprx-vision"})
	harness.CheckRefused(t, c.Socks("vision"), targets)
	p.WaitLog(t, "xtls-rprx-vision")
	p.WaitLog(t, user.Name)
}
