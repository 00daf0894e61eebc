package harness

import "testing"

// StartReal runs a real sing-box, an Xray, or a heki as the server behind the one under test, with
// inbounds in its own words. What they name goes out directly.
func StartReal(t testing.TB, name string, inbounds ...JSON) *Process {
	t.Helper()
	config := JSON{"log": JSON{"level": "debug"}, "inbounds": inbounds}
	port := "listen_port"
	switch name {
	case SingBox:
		config["dns"] = JSON{"servers": []JSON{{"type": "local", "tag": "local"}}, "strategy": "prefer_ipv4"}
		config["route"] = JSON{"default_domain_resolver": "local"}
	case Xray:
		port = "port"
		config["log"] = JSON{"loglevel": "info"}
		config["outbounds"] = []JSON{{"protocol": "freedom", "settings": JSON{"domainStrategy": "UseIPv4", "finalRules": []JSON{{"action": "allow"}}}}}
	default:
		config["state_dir"] = t.TempDir()
	}
	p := Run(t, name, WriteConfig(t, config))
	p.Name += " (behind)"
	for _, in := range inbounds {
		p.WaitPort(t, Address(in[port].(uint16)))
	}
	if name == SingBox {
		p.WaitFor(t, "knows its network", func() bool { return settled(p.Log()) })
	}
	return p
}
