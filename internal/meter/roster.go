package meter

import (
	"fmt"

	"heki/adapter"
)

// Roster is the user set that one inbound serves, and the only way it changes: Plan a new set, publish
// the plan's users, Commit. It is for one goroutine.
type Roster struct {
	books *Node
	users map[userKey]*adapter.User // published
	order []*adapter.User           // the same as they were given
}

// NewRoster returns an empty set whose meters are in books.
func NewRoster(books *Node) *Roster {
	return &Roster{books: books, users: make(map[userKey]*adapter.User)}
}

// Len returns the number of published users.
func (r *Roster) Len() int { return len(r.users) }

// Has tells whether the user with the id is published.
func (r *Roster) Has(id int64) bool {
	_, ok := r.users[userKey{id: id}]
	return ok
}

// Plan is the way from the published users to the wanted ones. Until Commit nothing that serves
// connections has changed.
type Plan struct {
	Added, Changed, Removed int

	roster *Roster
	users  []*adapter.User // the whole new set, in the given order
	put    []*adapter.User // those of them who are new or changed
	leave  []userKey       // of who is removed
	tune   []*adapter.User // same credential, other limits
	fresh  []*Meter        // made for this plan: nobody uses them yet
	gone   []adapter.Meter // of removed users and of old credentials
}

// Plan compares accounts, which are unique by id or, without one, by name, with what is published. An
// unchanged user stays the same *adapter.User, so that inbounds reuse what they derived from it; a
// changed one keeps its meter unless its credential changed.
//
// Panels give their users in the same order each time: most are found without asking the map.
func (r *Roster) Plan(accounts []adapter.Account) *Plan {
	p := &Plan{roster: r, users: make([]*adapter.User, 0, len(accounts))}
	stay := 0
	for i, a := range accounts {
		key := keyOf(a.ID, a.Name)
		was := r.at(i, key)
		if was == nil {
			was = r.users[key]
		}
		if was != nil {
			stay++
		}
		u := p.user(was, a)
		if u != was {
			p.put = append(p.put, u)
		}
		p.users = append(p.users, u)
	}
	if p.Removed = len(r.users) - stay; p.Removed > 0 {
		p.findLeavers()
	}
	return p
}

// at is the published user in that place, if it is the one with the key.
func (r *Roster) at(i int, key userKey) *adapter.User {
	if i >= len(r.order) {
		return nil
	}
	if u := r.order[i]; keyOf(u.ID, u.Name) == key {
		return u
	}
	return nil
}

// findLeavers notes who is published and not wanted any more.
func (p *Plan) findLeavers() {
	wanted := make(map[userKey]struct{}, len(p.users))
	for _, u := range p.users {
		wanted[keyOf(u.ID, u.Name)] = struct{}{}
	}
	for key, u := range p.roster.users {
		if _, ok := wanted[key]; !ok {
			p.gone = append(p.gone, u.Meter)
			p.leave = append(p.leave, key)
		}
	}
}

// user is the one to publish for a.
func (p *Plan) user(was *adapter.User, a adapter.Account) *adapter.User {
	switch {
	case was == nil:
		p.Added++
		m := p.roster.books.Meter(a)
		p.fresh = append(p.fresh, m)
		return &adapter.User{Account: a, Meter: m}
	case was.Account == a:
		return was
	case was.UUID != a.UUID || was.Password != a.Password:
		p.Changed++
		_, m := p.roster.books.Renew(a)
		p.fresh = append(p.fresh, m)
		p.gone = append(p.gone, was.Meter)
		return &adapter.User{Account: a, Meter: m}
	}
	p.Changed++
	u := &adapter.User{Account: a, Meter: was.Meter}
	p.tune = append(p.tune, u)
	return u
}

// Users returns the whole new set, in the order of the accounts.
func (p *Plan) Users() []*adapter.User { return p.users }

// Empty says that there is nothing to do.
func (p *Plan) Empty() bool { return p.Added+p.Changed+p.Removed == 0 }

// Abort takes back what the plan made: the new set could not be published.
func (p *Plan) Abort() {
	for _, m := range p.fresh {
		p.roster.books.Retire(m)
	}
	p.roster.books.Forget()
}

// Commit ends what must not go on, after the new set was published. First every old meter refuses, so
// that no handshake in flight slips through, then what is open is cut.
func (p *Plan) Commit() {
	for _, u := range p.tune {
		meterOf(u.Meter).SetLimits(u.Account)
	}
	for _, m := range p.gone {
		p.roster.books.Retire(meterOf(m))
	}
	for _, m := range p.gone {
		meterOf(m).Kick()
	}
	r := p.roster
	for _, key := range p.leave {
		delete(r.users, key)
	}
	for _, u := range p.put {
		r.users[keyOf(u.ID, u.Name)] = u
	}
	r.order = p.users
}

// meterOf returns the concrete meter: a roster's users have no other kind.
func meterOf(m adapter.Meter) *Meter { return m.(*Meter) }

func (p *Plan) String() string {
	return fmt.Sprintf("%d users: %d added, %d changed, %d removed", len(p.users), p.Added, p.Changed, p.Removed)
}
