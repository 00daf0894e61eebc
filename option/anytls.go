package option

import "strings"

// AnyTLS configures an AnyTLS inbound.
type AnyTLS struct {
	Stream
	Users         []PasswordUser   `json:"users,omitempty"`          // empty when a panel feeds the inbound
	PaddingScheme Listable[string] `json:"padding_scheme,omitempty"` // lines such as "stop=8"; default the protocol's own
}

// Validate fills defaults and reports every mistake at once. What the lines of padding_scheme say is
// the protocol's to judge.
func (a *AnyTLS) Validate(at Path) error {
	var r report
	r.join(a.Stream.Validate(at))
	r.join(a.noDatagrams(at))
	if a.Transport != nil {
		r.add(at.Key("transport"), "is not served with AnyTLS, which has none beside TLS")
	}
	if a.Multiplex != nil && a.Multiplex.Enabled {
		r.add(at.Key("multiplex"), "is not served with AnyTLS, which shares connections by itself")
	}
	in := at.Key("padding_scheme")
	for i, lines := range a.PaddingScheme {
		for line := range strings.SplitSeq(lines, "\n") {
			if !strings.Contains(line, "=") {
				r.add(in.item(i, len(a.PaddingScheme)), "is %q, must be a line such as \"stop=8\" or \"1=100-400\"", short(line))
			}
		}
	}
	r.join(passwordUsers(at.Key("users"), a.Users))
	return r.err()
}
