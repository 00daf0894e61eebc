package acme

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/go-acme/lego/v4/challenge"
	"github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/miekg/dns"

	"heki/option"
)

// Times of a record.
const (
	recordTimeout = 2 * time.Minute // until it must be seen, where neither the options nor the provider say
	recordLook    = 3 * time.Second // between two looks
	lookTimeout   = 10 * time.Second
)

// dnsWay puts a record into a zone.
type dnsWay struct {
	o        *option.ACMEDNS01
	provider challenge.Provider
	log      *slog.Logger
}

// present has the provider write the record and waits until it is seen. Providers take no context: what one
// does when ctx ends is undone behind the caller's back.
func (d *dnsWay) present(ctx context.Context, domain, token, proof string) (func(), error) {
	done := make(chan error, 1)
	go func() { done <- d.provider.Present(domain, token, proof) }()
	remove := func() {
		if err := d.provider.CleanUp(domain, token, proof); err != nil {
			d.log.Warn("the record of the challenge stays in the zone", "domain", domain, "err", d.clean(err))
		}
	}
	select {
	case err := <-done:
		if err != nil {
			return nil, fmt.Errorf("DNS provider %s: %w", d.o.Provider, d.clean(err))
		}
	case <-ctx.Done():
		go func() {
			if <-done == nil {
				remove()
			}
		}()
		return nil, context.Cause(ctx)
	}
	if err := d.await(ctx, domain, proof); err != nil {
		remove()
		return nil, err
	}
	return remove, nil
}

// clean keeps the credentials out of an error.
func (d *dnsWay) clean(err error) error { return Redact(err, d.o.Variables()) }

// await returns when the record is seen.
func (d *dnsWay) await(ctx context.Context, domain, proof string) error {
	if !sleep(ctx, time.Duration(d.o.PropagationDelay)) {
		return context.Cause(ctx)
	}
	limit := time.Duration(d.o.PropagationTimeout)
	switch p, ok := d.provider.(challenge.ProviderTimeout); {
	case limit < 0:
		return nil
	case limit == 0 && ok:
		limit, _ = p.Timeout()
	case limit == 0:
		limit = recordTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	info := dns01.GetChallengeInfo(domain, proof)
	for {
		err := d.look(ctx, info)
		if err == nil {
			return nil
		}
		if !sleep(ctx, recordLook) {
			return fmt.Errorf("the record %s is not seen after %s: %w", info.EffectiveFQDN, limit, err)
		}
	}
}

// look asks each server of the zone, or the resolvers of the options.
func (d *dnsWay) look(ctx context.Context, info dns01.ChallengeInfo) error {
	servers := []string(d.o.Resolvers)
	if len(servers) == 0 {
		zone, err := dns01.FindZoneByFqdn(info.EffectiveFQDN)
		if err != nil {
			return err
		}
		list, err := net.DefaultResolver.LookupNS(ctx, zone)
		if err != nil {
			return err
		}
		for _, ns := range list {
			servers = append(servers, ns.Host)
		}
	}
	for _, server := range servers {
		if err := lookAt(ctx, server, info); err != nil {
			return err
		}
	}
	return nil
}

func lookAt(ctx context.Context, server string, info dns01.ChallengeInfo) error {
	address := server
	if _, _, err := net.SplitHostPort(server); err != nil {
		address = net.JoinHostPort(strings.Trim(server, "[]"), "53")
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	question := new(dns.Msg).SetQuestion(info.EffectiveFQDN, dns.TypeTXT)
	answer, _, err := new(dns.Client).ExchangeContext(ctx, question, address)
	if err != nil {
		return fmt.Errorf("ask %s: %w", server, err)
	}
	for _, rr := range answer.Answer {
		if txt, ok := rr.(*dns.TXT); ok && strings.Join(txt.Txt, "") == info.Value {
			return nil
		}
	}
	return fmt.Errorf("%s does not have it yet", server)
}
