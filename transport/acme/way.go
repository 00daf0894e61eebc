package acme

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/go-acme/lego/v4/acme"
	"github.com/go-acme/lego/v4/acme/api"
	"github.com/go-acme/lego/v4/challenge"
)

// Ports at which an authority looks: RFC 8555 §8.3, RFC 8737 §3.
const (
	httpPort = 80
	tlsPort  = 443
)

// way is how the authority is shown whose a domain is.
type way struct {
	kind    challenge.Type
	another bool // there is another one
	answers *answers
	dns     *dnsWay // of dns-01
	close   func()  // listeners of the attempt; nil: none
}

func (w *way) done() {
	if w.close != nil {
		w.close()
	}
}

// prepare chooses a way and opens what it needs before anything is asked: an authority counts failures.
func (a *authority) prepare(ctx context.Context, j job) (*way, error) {
	if d := j.o.DNS01Challenge; d != nil {
		provider, err := a.cfg.Providers.New(d.Provider, d.Variables())
		if err != nil {
			return nil, fmt.Errorf("DNS provider %s: %w", d.Provider, err)
		}
		return &way{kind: challenge.DNS01, answers: a.answers, dns: &dnsWay{o: d, provider: provider, log: a.cfg.Log}}, nil
	}
	kinds := kindsOf(j)
	var errs []error
	for i := range kinds {
		kind := kinds[(i+j.attempt)%len(kinds)]
		closer, err := a.open(ctx, kind, j)
		if err == nil {
			return &way{kind: kind, another: len(kinds)-len(errs) > 1, answers: a.answers, close: closer}, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// kindsOf are the ways that are allowed, the one with a port that is open anyway first.
func kindsOf(j job) []challenge.Type {
	var kinds []challenge.Type
	if !j.o.DisableHTTPChallenge {
		kinds = append(kinds, challenge.HTTP01)
	}
	if !j.o.DisableTLSALPNChallenge {
		kinds = append(kinds, challenge.TLSALPN01)
		if servesTLS(j) {
			slices.Reverse(kinds)
		}
	}
	return kinds
}

// servesTLS says whether one of the servers that wait is itself where the authority looks.
func servesTLS(j job) bool {
	return slices.ContainsFunc(j.listening, func(a net.Addr) bool {
		t, ok := a.(*net.TCPAddr)
		return ok && t.Port == int(portOr(j.o.AlternativeTLSPort, tlsPort))
	})
}

func portOr(port, standard uint16) uint16 {
	if port != 0 {
		return port
	}
	return standard
}

// open listens where the authority will look.
func (a *authority) open(ctx context.Context, kind challenge.Type, j job) (func(), error) {
	switch {
	case kind == challenge.HTTP01:
		port := portOr(j.o.AlternativeHTTPPort, httpPort)
		closer, err := a.answers.listen(ctx, placesOf(j.listening, port), false)
		return closer, atPort(err, kind, port, "alternative_http_port")
	case servesTLS(j):
		return nil, nil
	default:
		port := portOr(j.o.AlternativeTLSPort, tlsPort)
		closer, err := a.answers.listen(ctx, placesOf(j.listening, port), true)
		return closer, atPort(err, kind, port, "alternative_tls_port")
	}
}

// atPort says what can be done about a port that cannot be had.
func atPort(err error, kind challenge.Type, port uint16, key string) error {
	if err == nil {
		return nil
	}
	who := ""
	if name := portOwner(port); name != "" {
		who = ", which " + name + " has"
	}
	return fmt.Errorf("%s needs port %d%s (free it, pass /.well-known/acme-challenge/ or the port on to acme.%s, or write dns01_challenge): %w", kind, port, who, key, err)
}

// placesOf are the addresses of servers with another port; all when one of them is on all.
func placesOf(listening []net.Addr, port uint16) []netip.AddrPort {
	var all []netip.AddrPort
	for _, a := range listening {
		var ip net.IP
		switch a := a.(type) {
		case *net.TCPAddr:
			ip = a.IP
		case *net.UDPAddr:
			ip = a.IP
		}
		addr, ok := netip.AddrFromSlice(ip)
		if !ok || addr.IsUnspecified() {
			return []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), port)}
		}
		if place := netip.AddrPortFrom(addr.Unmap(), port); !slices.Contains(all, place) {
			all = append(all, place)
		}
	}
	if len(all) == 0 {
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), port)}
	}
	return all
}

// authorize shows that one domain is ours.
func (t *transaction) authorize(ctx context.Context, url string) error {
	authz, err := t.core.Authorizations.Get(url)
	if err != nil {
		return fmt.Errorf("authorization: %w", err)
	}
	domain := authz.Identifier.Value
	if authz.Status == acme.StatusValid { // from a former order
		return nil
	}
	offered, err := challenge.FindChallenge(t.way.kind, authz)
	if err != nil {
		return fmt.Errorf("%s: the authority does not offer %s", domain, t.way.kind)
	}
	proof, err := t.core.GetKeyAuthorization(offered.Token)
	if err != nil {
		return err
	}
	withdraw, err := t.present(ctx, authz, offered, proof)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", domain, t.way.kind, err)
	}
	defer withdraw()
	if _, err := t.core.Challenges.New(offered.URL); err != nil {
		return fmt.Errorf("%s: %s: %w", domain, t.way.kind, err)
	}
	return poll(ctx, func() (bool, error) { return settled(t.core, url, domain, t.way.kind) })
}

// settled asks what has become of an authorization.
func settled(core *api.Core, url, domain string, kind challenge.Type) (bool, error) {
	authz, err := core.Authorizations.Get(url)
	switch {
	case err != nil:
		return false, fmt.Errorf("authorization: %w", err)
	case authz.Status == acme.StatusValid:
		return true, nil
	case authz.Status == acme.StatusPending || authz.Status == acme.StatusProcessing:
		return false, nil
	}
	for _, c := range authz.Challenges {
		if c.Error != nil {
			return false, fmt.Errorf("%s: %s: %w", domain, kind, c.Error)
		}
	}
	return false, fmt.Errorf("%s: %s: %w", domain, kind, invalid(nil))
}

// present makes the proof visible and returns what takes it away again.
func (t *transaction) present(ctx context.Context, authz acme.Authorization, offered acme.Challenge, proof string) (func(), error) {
	switch t.way.kind {
	case challenge.HTTP01:
		t.way.answers.addPage(offered.Token, proof)
		return func() { t.way.answers.removePage(offered.Token) }, nil
	case challenge.TLSALPN01:
		return t.way.answers.addName(authz.Identifier.Value, proof)
	}
	return t.way.dns.present(ctx, authz.Identifier.Value, offered.Token, proof)
}
