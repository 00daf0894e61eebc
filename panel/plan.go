package panel

import (
	"fmt"

	"heki/adapter"
	"heki/internal/meter"
)

// plan is the way from the published users to the wanted ones. Until commit nothing that serves
// connections has changed.
type plan struct {
	books *meter.Node
	users []*adapter.User         // the whole new set, in the panel's order
	byID  map[int64]*adapter.User // the same
	tune  []*adapter.User         // same credential, other limits
	fresh []*meter.Meter          // made for this plan: nobody uses them yet
	gone  []adapter.Meter         // of removed users and of old credentials

	added, changed, removed int
}

// newPlan compares by id with == on the account. An unchanged user stays the same *adapter.User, so
// that inbounds reuse what they derived from it; a changed one keeps its meter unless its credential
// changed.
func newPlan(books *meter.Node, old map[int64]*adapter.User, accounts []adapter.Account) *plan {
	p := &plan{
		books: books,
		users: make([]*adapter.User, 0, len(accounts)),
		byID:  make(map[int64]*adapter.User, len(accounts)),
	}
	for _, a := range accounts {
		u := p.user(old[a.ID], a)
		p.users = append(p.users, u)
		p.byID[a.ID] = u
	}
	for id, u := range old {
		if p.byID[id] == nil {
			p.gone = append(p.gone, u.Meter)
			p.removed++
		}
	}
	return p
}

// user is the one to publish for a.
func (p *plan) user(was *adapter.User, a adapter.Account) *adapter.User {
	switch {
	case was == nil:
		p.added++
		m := p.books.Meter(a)
		p.fresh = append(p.fresh, m)
		return &adapter.User{Account: a, Meter: m}
	case was.Account == a:
		return was
	case was.UUID != a.UUID || was.Password != a.Password:
		p.changed++
		_, m := p.books.Renew(a)
		p.fresh = append(p.fresh, m)
		p.gone = append(p.gone, was.Meter)
		return &adapter.User{Account: a, Meter: m}
	}
	p.changed++
	u := &adapter.User{Account: a, Meter: was.Meter}
	p.tune = append(p.tune, u)
	return u
}

// empty tells whether there is nothing to do.
func (p *plan) empty() bool { return p.added+p.changed+p.removed == 0 }

// abort takes back what the plan made: the new set could not be published.
func (p *plan) abort() {
	for _, m := range p.fresh {
		p.books.Retire(m)
	}
	p.books.Forget()
}

// commit ends what must not go on, after the new set was published. First every old meter refuses, so
// that no handshake in flight slips through, then what is open is cut.
func (p *plan) commit() {
	for _, u := range p.tune {
		if m, ok := u.Meter.(*meter.Meter); ok {
			m.SetLimits(u.Account)
		}
	}
	for _, m := range p.gone {
		if m, ok := m.(*meter.Meter); ok {
			p.books.Retire(m)
		}
	}
	for _, m := range p.gone {
		if m, ok := m.(*meter.Meter); ok {
			m.Kick()
		}
	}
}

func (p *plan) String() string {
	return fmt.Sprintf("%d users: %d added, %d changed, %d removed", len(p.users), p.added, p.changed, p.removed)
}
