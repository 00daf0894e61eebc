package shadowsocksr

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"heki/adapter"
	"heki/internal/protocol/ssr"
	"heki/internal/protocol/ssr/protocol"
	"heki/option"
)

// entry is a user of one port.
type entry struct {
	user    *adapter.User
	key     []byte // the user's, by the port's protocol; nil without users
	devices int    // client ids at once instead of addresses; 0: addresses
}

// set is the users of one port. It never changes.
type set struct {
	single *entry // the one of mode single_user
	byID   map[uint32]*entry
	byHost map[string]*entry
	who    protocol.Lookup // of datagrams
}

// SwapUsers implements adapter.UserManager. Users with a port of their own open and close it. What is
// wrong with such a port is logged and costs nobody else anything.
func (in *Inbound) SwapUsers(users []*adapter.User) error {
	gone, err := in.swap(users)
	if err != nil {
		return err
	}
	return closeAll(gone)
}

// swap publishes users and returns the ports that nobody has any more.
func (in *Inbound) swap(users []*adapter.User) (gone []*port, err error) {
	var shared, own []*adapter.User
	for _, u := range users {
		if u.Port != 0 {
			own = append(own, u)
		} else {
			shared = append(shared, u)
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	sets := make(map[*port]*set, len(in.ports))
	for _, at := range in.fixed {
		p := in.ports[at]
		s, err := p.newSet(in.members(at, shared, own))
		if err != nil {
			return nil, err
		}
		sets[p] = s
	}
	keep := in.ownPortsLocked(own, sets)
	for at, p := range in.ports {
		if !keep[at] && !slices.Contains(in.fixed, at) {
			gone = append(gone, p)
			delete(in.ports, at)
		}
	}
	for p, s := range sets {
		p.users.Store(s)
	}
	if in.started && !in.retired {
		for at := range keep {
			if err := in.ports[at].start(); err != nil {
				in.log.Warn("a user's port cannot be bound; the others are served", "port", at.number, "err", err)
			}
		}
	}
	return gone, nil
}

// members are those who use a port of the options: whoever has no own, and on shared ports the others
// too, as panels have it.
func (in *Inbound) members(at place, shared, own []*adapter.User) []*adapter.User {
	if at.Mode == option.SSRSingleUser {
		return shared
	}
	return slices.Concat(shared, own)
}

// ownPortsLocked makes the ports of users that are missing and the sets of all of them.
func (in *Inbound) ownPortsLocked(own []*adapter.User, sets map[*port]*set) map[place]bool {
	keep, taken := make(map[place]bool), make(map[uint16]string)
	for _, at := range in.fixed {
		taken[at.number] = "the inbound"
	}
	for _, u := range own {
		if first, twice := taken[u.Port]; twice {
			in.log.Warn("a user's port is taken; the first is served", "user", u.Name, "port", u.Port, "first", first)
			continue
		}
		taken[u.Port] = u.Name
		at := place{u.Port, option.SSRPort{
			Method: option.SSRName(u.SSR.Method), Password: u.Password,
			Protocol: option.SSRName(u.SSR.Protocol), ProtocolParam: u.SSR.ProtocolParam,
			Obfs: option.SSRName(u.SSR.Obfs), ObfsParam: u.SSR.ObfsParam, Mode: option.SSRSingleUser,
		}}
		p := in.ports[at]
		if p == nil {
			var err error
			if p, err = newPort(in, at); err != nil {
				in.log.Warn("a user's port is not served", "user", u.Name, "port", u.Port, "err", err)
				continue
			}
		}
		s, err := p.newSet([]*adapter.User{u})
		if err != nil {
			in.log.Warn("a user's port is not served", "user", u.Name, "port", u.Port, "err", err)
			continue
		}
		in.ports[at], sets[p], keep[at] = p, s, true
	}
	return keep
}

// newSet is the users of the port.
func (p *port) newSet(users []*adapter.User) (*set, error) {
	s := &set{byID: make(map[uint32]*entry), byHost: make(map[string]*entry)}
	if p.at.Mode == option.SSRSingleUser {
		if len(users) > 1 {
			return nil, fmt.Errorf("users %q and %q share port %d, which tells no users apart", users[0].Name, users[1].Name, p.at.number)
		}
		for _, u := range users {
			s.single = &entry{user: u, key: p.codec.Key()}
		}
		s.who = func(uint32) ([]byte, bool) { return p.codec.Key(), s.single != nil }
		return s, nil
	}
	for _, u := range users {
		if err := p.add(s, u); err != nil {
			return nil, fmt.Errorf("user %q: %w", u.Name, err)
		}
	}
	s.who = func(uid uint32) ([]byte, bool) {
		if e := s.byID[uid]; e != nil {
			return e.key, true
		}
		return nil, false
	}
	return s, nil
}

// add puts one user into s.
func (p *port) add(s *set, u *adapter.User) error {
	if u.ID <= 0 || u.ID > 1<<32-1 {
		return fmt.Errorf("has id %d, which clients cannot say", u.ID)
	}
	if u.Password == "" {
		return fmt.Errorf("has no password")
	}
	id := uint32(u.ID)
	if first := s.byID[id]; first != nil {
		return fmt.Errorf("has the id of %q", first.user.Name)
	}
	e := &entry{user: u, key: p.codec.UserKey(u.Password)}
	if p.at.Mode == option.SSRProtocol && p.in.o.CountsClients() && u.IPLimit > 0 {
		if m, ok := u.Meter.(adapter.DeviceMeter); ok {
			e.devices = u.IPLimit
			e.user = &adapter.User{Account: u.Account, Meter: deviceMeter{m}}
		}
	}
	s.byID[id] = e
	if p.at.Mode != option.SSRObfs {
		return nil
	}
	host := ssr.UserHost(p.in.o.MuRegex, p.in.o.MuSuffix, ssr.HostOwner{
		ID: u.ID, Password: u.Password, Method: u.SSR.Method, Obfs: u.SSR.Obfs, Protocol: u.SSR.Protocol,
	})
	if first := s.byHost[host]; first != nil {
		return fmt.Errorf("has the host of %q, %s", first.user.Name, host)
	}
	s.byHost[host] = e
	return nil
}

// deviceMeter is the meter of a user whose devices are counted here.
type deviceMeter struct{ adapter.DeviceMeter }

// Open implements adapter.Meter.
func (m deviceMeter) Open(ctx context.Context, source netip.Addr, kill func()) (adapter.Lease, error) {
	return m.OpenDevice(ctx, source, kill)
}
