package app

import (
	"errors"
	"fmt"
	"reflect"

	"heki/adapter"
	"heki/internal/meter"
	"heki/option"
)

// static is an inbound of the configuration file. Its users take the same road as a panel's.
type static struct {
	in     option.Inbound
	node   *meter.Node
	roster *meter.Roster
	users  adapter.UserManager
}

// startStatic starts in with the users of the file.
func (a *App) startStatic(in option.Inbound) error {
	s := a.static[in.Tag]
	if s == nil {
		node := a.ledger.Node(in.Tag, "inbound/"+in.Tag)
		s = &static{node: node, roster: meter.NewRoster(node)}
	}
	limits, accounts, err := accountsOf(in.Options, &a.options.Limits)
	if err != nil {
		return fmt.Errorf("inbound %q: %w", in.Tag, err)
	}
	plan := s.roster.Plan(accounts)
	um, err := a.inbounds.Replace(in, plan.Users())
	if err != nil {
		plan.Abort()
		return err
	}
	s.node.SetLimits(limits)
	plan.Commit()
	s.in, s.users = in, um
	a.static[in.Tag] = s
	return nil
}

// reloadStatic makes the file's inbounds those of o: what did not change is not touched, changed users
// are swapped, anything else is replaced. a.options is still the old configuration.
func (a *App) reloadStatic(o *option.Options) error {
	var errs []error
	wanted := make(map[string]bool)
	for _, in := range o.Inbounds {
		wanted[in.Tag] = true
	}
	for tag, s := range a.static {
		if wanted[tag] {
			continue
		}
		s.node.Close()
		errs = append(errs, a.inbounds.Remove(tag))
		delete(a.static, tag)
	}
	old := a.options
	a.options = o
	for _, in := range o.Inbounds {
		s := a.static[in.Tag]
		if s != nil && reflect.DeepEqual(withoutUsers(s.in), withoutUsers(in)) {
			errs = append(errs, a.swapStatic(s, in))
			continue
		}
		errs = append(errs, a.startStatic(in))
	}
	a.options = old
	return errors.Join(errs...)
}

// swapStatic changes only the users and limits of a running inbound.
func (a *App) swapStatic(s *static, in option.Inbound) error {
	limits, accounts, err := accountsOf(in.Options, &a.options.Limits)
	if err != nil {
		return fmt.Errorf("inbound %q: %w", in.Tag, err)
	}
	s.node.SetLimits(limits)
	plan := s.roster.Plan(accounts)
	if plan.Empty() {
		return nil
	}
	if err := s.users.SwapUsers(plan.Users()); err != nil {
		plan.Abort()
		return fmt.Errorf("inbound %q: %w", in.Tag, err)
	}
	plan.Commit()
	s.in = in
	a.log.Info("users changed", "inbound", in.Tag, "users", plan.String())
	return nil
}

// withoutUsers is in with no users, for a comparison of the rest.
func withoutUsers(in option.Inbound) option.Inbound {
	switch o := in.Options.(type) {
	case *option.VLESS:
		bare := *o
		bare.Users, bare.Limits = nil, nil
		in.Options = &bare
	case *option.Trojan:
		bare := *o
		bare.Users, bare.Limits = nil, nil
		in.Options = &bare
	case *option.VMess:
		bare := *o
		bare.Users, bare.Limits = nil, nil
		in.Options = &bare
	case *option.Shadowsocks:
		bare := *o
		bare.Users, bare.Limits = nil, withInvalidAccess(o.Limits)
		in.Options = &bare
	case *option.ShadowsocksR:
		bare := *o
		bare.Users, bare.Limits = nil, nil
		in.Options = &bare
	case *option.AnyTLS:
		bare := *o
		bare.Users, bare.Limits = nil, nil
		in.Options = &bare
	case *option.Hysteria2:
		bare := *o
		bare.Users, bare.Limits = nil, nil
		in.Options = &bare
	}
	return in
}

// accountsOf turns the users of an inbound's options into accounts, the inbound's limits applied.
func accountsOf(o option.InboundOptions, top *option.Limits) (meter.Limits, []adapter.Account, error) {
	var stream *option.Stream
	var accounts []adapter.Account
	switch o := o.(type) {
	case *option.VLESS:
		stream = &o.Stream
		for i, u := range o.Users {
			a := account(i, u.User)
			a.Flow = u.Flow
			copy(a.Seed[:], u.TestSeed)
			var err error
			if a.UUID, err = option.ParseUUID(u.UUID); err != nil {
				return meter.Limits{}, nil, fmt.Errorf("users[%d].uuid: %w", i, err)
			}
			accounts = append(accounts, a)
		}
	case *option.Trojan:
		stream, accounts = &o.Stream, passwordAccounts(o.Users)
	case *option.AnyTLS:
		stream, accounts = &o.Stream, passwordAccounts(o.Users)
	case *option.Hysteria2:
		stream, accounts = &o.Stream, passwordAccounts(o.Users)
	case *option.Shadowsocks:
		stream, accounts = &o.Stream, shadowsocksAccounts(o)
	case *option.ShadowsocksR:
		stream, accounts = &o.Stream, ssrAccounts(o)
	case *option.VMess:
		stream = &o.Stream
		for i, u := range o.Users {
			a := account(i, u.User)
			a.AlterID = u.AlterID
			var err error
			if a.UUID, err = option.ParseUUID(u.UUID); err != nil {
				return meter.Limits{}, nil, fmt.Errorf("users[%d].uuid: %w", i, err)
			}
			accounts = append(accounts, a)
		}
	default:
		return meter.Limits{}, nil, fmt.Errorf("options of type %T have no users", o)
	}
	l := option.MergeLimits(top, stream.Limits)
	return meter.LimitsOf(&l, 0), meter.Limited(accounts, &l), nil
}

// shadowsocksAccounts are the users of o, or the one of its password.
func shadowsocksAccounts(o *option.Shadowsocks) []adapter.Account {
	if !o.Single() {
		return passwordAccounts(o.Users)
	}
	return passwordAccounts([]option.PasswordUser{{User: option.User{Name: "user"}, Password: o.Password}})
}

// withInvalidAccess is what of limits an inbound itself applies; the rest is for the books.
func withInvalidAccess(l *option.Limits) *option.Limits {
	if l == nil || l.InvalidAccess == (option.InvalidAccess{}) {
		return nil
	}
	return &option.Limits{InvalidAccess: l.InvalidAccess}
}

// passwordAccounts turns users with a password into accounts.
func passwordAccounts(users []option.PasswordUser) []adapter.Account {
	accounts := make([]adapter.Account, len(users))
	for i, u := range users {
		accounts[i] = account(i, u.User)
		accounts[i].Password = u.Password
	}
	return accounts
}

func account(i int, u option.User) adapter.Account {
	if u.Name == "" {
		if u.Name = fmt.Sprintf("user-%d", i); u.ID != 0 {
			u.Name = fmt.Sprint(u.ID)
		}
	}
	return adapter.Account{
		ID: u.ID, Name: u.Name, SpeedBytes: option.MbpsToBytes(u.SpeedLimitMbps),
		IPLimit: u.IPLimit, ConnLimit: u.ConnLimit,
	}
}
