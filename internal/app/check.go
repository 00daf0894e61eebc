package app

import (
	"errors"
	"log/slog"

	"heki/adapter"
	"heki/dns"
	"heki/inbound"
	"heki/option"
	"heki/outbound"
	"heki/route"
	"heki/route/geo"
	"heki/transport/tcp"
)

// Check finds the mistakes that only the parts themselves know: rules, DNS servers, certificates,
// interfaces. It binds nothing and asks nobody.
func Check(o *option.Options) error {
	log := slog.New(slog.DiscardHandler)
	lists := geo.New(geoPlaces(o), log)
	errs := []error{route.Check(o.Route, lists)}
	client, err := dns.New(o.DNS, compileHosts(lists), log)
	errs = append(errs, err)
	if client != nil {
		errs = append(errs, client.Close())
	}
	outbounds := outboundTypes()
	for i, out := range o.Outbounds {
		if out.Options == nil || out.Options.Validate("") != nil {
			continue // a mistake that was reported already; constructors trust their options
		}
		built, err := outbounds.New(outbound.Env{Log: log}, out)
		if err != nil {
			errs = append(errs, at("outbounds", i, err))
			continue
		}
		errs = append(errs, built.Close())
	}
	certs := newCertificates(o, log)
	inbounds := inbound.NewManager(inboundTypes(newMemories()), inbound.Env{Listeners: new(tcp.Pool), Certificates: certs, Log: log})
	for i, in := range o.Inbounds {
		if in.Options == nil || in.Options.Validate("") != nil {
			continue
		}
		if err := checkInbound(inbounds, o, in); err != nil {
			errs = append(errs, at("inbounds", i, err))
		}
	}
	return errors.Join(append(errs, inbounds.Close(), certs.Close())...)
}

// checkInbound builds in with its users.
func checkInbound(m *inbound.Manager, o *option.Options, in option.Inbound) error {
	_, accounts, err := accountsOf(in.Options, &o.Limits)
	if err != nil {
		return err
	}
	users := make([]*adapter.User, len(accounts))
	for i, a := range accounts {
		users[i] = &adapter.User{Account: a}
	}
	return m.Check(in, users)
}

// at gives err its place unless it has one.
func at(list string, i int, err error) error {
	if _, ok := errors.AsType[*option.Mistake](err); ok {
		return err
	}
	return option.Path(list).Index(i).Errorf("%w", err)
}
