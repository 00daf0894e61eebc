package panel

import (
	"cmp"
	"slices"
	"time"

	"heki/internal/meter"
)

// Status is one node at one moment.
type Status struct {
	Tag, Panel string
	ID         int64

	Serving      bool
	Protocol     string
	Port         uint16
	Network      string
	TLS          TLSKind
	FromSnapshot bool      // the panel has not answered since the start
	Synced       time.Time // last good sync; zero is never
	Err          string    // of the last sync; "" when it was good

	meter.Stats // users, connections and bytes now

	Reports                  int   // accepted since the start
	ReportedUp, ReportedDown int64 // bytes in them
	BacklogUsers             int   // journalled and not yet accepted
	BacklogBytes             int64
	HeldBatches              int // fate unknown, for a person to decide
	HeldBytes                int64
}

// Status returns the nodes' states by tag.
func (s *Service) Status() []Status {
	var all []Status
	for _, a := range s.list() {
		a.mu.Lock()
		st := a.status
		a.mu.Unlock()
		st.Stats = a.books.Stats()
		st.BacklogUsers, st.BacklogBytes = a.outbox.Backlog()
		st.HeldBatches, st.HeldBytes = a.outbox.HeldBytes()
		all = append(all, st)
	}
	slices.SortFunc(all, func(x, y Status) int {
		return cmp.Or(cmp.Compare(x.Panel, y.Panel), cmp.Compare(x.ID, y.ID))
	})
	return all
}

func (a *actor) setStatus(set func(*Status)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	set(&a.status)
}

// note copies what is served into the status.
func (a *actor) note() {
	a.setStatus(func(s *Status) {
		s.Serving = a.manager != nil
		if a.node != nil {
			s.Protocol, s.Port, s.Network, s.TLS = a.node.Protocol, a.node.Port, a.node.Network, a.node.TLS
		}
	})
}
