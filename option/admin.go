package option

import "net/netip"

// Admin is a small web server for the operator: whether heki lives, what it serves, figures for Prometheus.
type Admin struct {
	Listen string `json:"listen"`          // address and port, such as 127.0.0.1:9090
	Token  string `json:"token,omitempty"` // asked for as "Authorization: Bearer …"; required unless listen is a loopback address
}

// minToken is the length of a token in bytes that nobody guesses.
const minToken = 16

// Validate wants a token where other machines can ask.
func (a *Admin) Validate(at Path) error {
	var r report
	addr, err := netip.ParseAddrPort(a.Listen)
	switch {
	case err != nil:
		r.add(at.Key("listen"), "is %q, must be an IP address and a port such as 127.0.0.1:9090", short(a.Listen))
	case a.Token == "" && !addr.Addr().Unmap().IsLoopback():
		r.add(at.Key("token"), "is missing: listen is open to other machines")
	}
	if a.Token != "" && len(a.Token) < minToken {
		r.add(at.Key("token"), "has %d bytes, must have at least %d", len(a.Token), minToken)
	}
	r.join(printable(at.Key("token"), a.Token)) // it is sent in a header
	return r.err()
}
