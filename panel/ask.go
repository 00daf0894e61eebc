package panel

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"heki/option"
)

// AskMachine asks the panel of the entry o, which has a machine_id and is validated, for the machine's
// nodes, and returns what speaks against the entry. It starts nothing.
func AskMachine(ctx context.Context, kinds map[string]Kind, o *option.Panel) []error {
	transport := newTransport(1)
	defer transport.CloseIdleConnections()
	client := newHTTPClient(transport)
	env := Env{
		HTTP: client, Long: client, Now: time.Now,
		Say:   func(slog.Level, string, ...any) {},
		Clock: func(time.Duration, time.Duration) {},
	}
	kind := kinds[o.Type]
	if kind.Machine == nil {
		return []error{fmt.Errorf("type %q has no machines", o.Type)}
	}
	m, err := kind.Machine(env, o)
	if err != nil {
		return []error{err}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(o.Timeout))
	defer cancel()
	list, err := m.Nodes(ctx)
	if err != nil {
		return []error{fmt.Errorf("machine %d: %w", o.MachineID, err)}
	}
	var doubts []error
	if len(list.Nodes) == 0 {
		doubts = append(doubts, fmt.Errorf("machine %d has no nodes on the panel", o.MachineID))
	}
	for _, n := range o.Nodes {
		if !slices.ContainsFunc(list.Nodes, func(l MachineNode) bool { return l.ID == n.ID }) {
			doubts = append(doubts, fmt.Errorf("node %d is not among those of machine %d on the panel, or it is disabled there", n.ID, o.MachineID))
		}
	}
	return doubts
}

// newHTTPClient follows no redirects: the token would go wherever they point.
func newHTTPClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
