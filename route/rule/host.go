package rule

import (
	"errors"
	"slices"
	"strings"

	"heki/adapter"
	"heki/option"
)

// Hosts is a compiled list of lines about the names of hosts, for those who know nothing else of a
// connection. It implements dns.Matcher.
type Hosts struct {
	set  *Set
	rest *adapter.Metadata // what lines see beside the host: nothing
}

var errNotHost = errors.New("looks at more than a host's name; here keywords, domain:, full:, regexp:, geosite: and * are possible")

// CompileHosts is Compile for lines that look at nothing but the name: a keyword, regexp:, domain:,
// full:, geosite: and *.
func CompileHosts(lines []string, geo Geo) (*Hosts, error) {
	kept, bad := hostLines(lines)
	set, err := Compile(kept, geo)
	h := &Hosts{set, new(adapter.Metadata)}
	var more Errors
	if errors.As(err, &more) {
		bad = append(bad, more...)
		slices.SortFunc(bad, func(a, b *LineError) int { return a.Index - b.Index })
	}
	if len(bad) > 0 {
		return h, bad
	}
	return h, nil
}

// HostsAt is CompileHosts for lines of the configuration: every mistake is a *option.Mistake with its
// place below at, and lines that can match nothing are one.
func HostsAt(at option.Path, lines []string, geo Geo) (*Hosts, error) {
	h, err := CompileHosts(lines, geo)
	var bad Errors
	if !errors.As(err, &bad) {
		if h.set.Empty() {
			return nil, at.Errorf(`holds only comments and matches nothing; write ["*"] to match everything`)
		}
		return h, nil
	}
	errs := make([]error, len(bad))
	for i, line := range bad {
		errs[i] = at.Index(line.Index).Errorf("%q %w", clip(line.Line), line.Text)
	}
	return nil, errors.Join(errs...)
}

// hostLines replaces the lines about other things by empty ones, and reports them.
func hostLines(lines []string) (kept []string, bad Errors) {
	kept = slices.Clone(lines)
	for i, line := range lines {
		line = strings.TrimSpace(line)
		kind, _, _ := strings.Cut(line, ":")
		switch kind {
		case "ip", "geoip", "port", "protocol", "network", "user", "node", "node_id", "inbound":
			if kind != line { // else a keyword
				kept[i] = ""
				bad = append(bad, &LineError{Index: i, Line: line, Text: errNotHost})
			}
		}
	}
	return kept, bad
}

// MatchHost says whether a line matches host. It allocates as little as [Set] says.
func (h *Hosts) MatchHost(host string) bool {
	sub := subject{md: h.rest}
	sub.addName(host)
	return h.set.find(&sub, true) != none
}
