package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/go-acme/lego/v4/acme"
	"github.com/go-acme/lego/v4/acme/api"
	"github.com/go-acme/lego/v4/certificate"

	"heki/constant"
	"heki/option"
)

// issuer orders certificates.
type issuer interface {
	// issue returns a key and the chain of its certificate as PEM.
	issue(ctx context.Context, j job) ([]byte, error)
	// window returns when the authority wants leaf renewed; zero times when it does not mind.
	window(ctx context.Context, i identity, leaf *x509.Certificate) (from, to time.Time, err error)
}

// job is one attempt.
type job struct {
	identity
	o         *option.ACME
	listening []net.Addr // of the servers that wait for the certificate
	attempt   int        // failures before this one
	replaces  *x509.Certificate
}

// Refused is what an authority says that does not give a certificate.
type Refused struct {
	Text       string
	Limited    bool          // it has had too many orders or failures
	RetryAfter time.Duration // 0: it does not say
	Another    bool          // the next attempt goes another way
}

func (r *Refused) Error() string { return r.Text }

// Bounds of what is asked.
const (
	answerTimeout = 30 * time.Second
	pollFirst     = time.Second
	pollMost      = 5 * time.Second
	userAgent     = "heki"
)

// authority speaks ACME.
type authority struct {
	cfg         Config
	answers     *answers
	transport   *http.Transport
	registering chan struct{} // one account at a time, so that two orders do not make two
}

func newAuthority(cfg Config, a *answers) *authority {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		TLSHandshakeTimeout:   answerTimeout,
		ResponseHeaderTimeout: answerTimeout,
		ForceAttemptHTTP2:     true,
		IdleConnTimeout:       answerTimeout,
	}
	return &authority{cfg: cfg, answers: a, transport: t, registering: make(chan struct{}, 1)}
}

// bound ties requests to a context, which lego's calls do not take.
type bound struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bound) RoundTrip(r *http.Request) (*http.Response, error) {
	return b.next.RoundTrip(r.WithContext(b.ctx))
}

func (a *authority) client(ctx context.Context) *http.Client {
	return &http.Client{Transport: bound{ctx, a.transport}}
}

// window implements issuer.
func (a *authority) window(ctx context.Context, i identity, leaf *x509.Certificate) (from, to time.Time, err error) {
	defer a.transport.CloseIdleConnections()
	id, err := certificate.MakeARICertID(leaf)
	if err != nil {
		return from, to, err
	}
	key, err := newKey(constant.KeyEC256) // the question is not signed
	if err != nil {
		return from, to, err
	}
	core, err := api.New(a.client(ctx), userAgent, i.Directory, "", key)
	if err != nil {
		return from, to, err
	}
	answer, err := core.Certificates.GetRenewalInfo(id)
	if errors.Is(err, api.ErrNoARI) {
		return from, to, nil
	}
	if err != nil {
		return from, to, err
	}
	defer answer.Body.Close()
	var info acme.RenewalInfoResponse
	if answer.StatusCode != http.StatusOK {
		return from, to, fmt.Errorf("renewal info: %s", answer.Status)
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, answer.Body, maxFile)).Decode(&info); err != nil {
		return from, to, fmt.Errorf("renewal info: %w", err)
	}
	return info.SuggestedWindow.Start, info.SuggestedWindow.End, nil
}

// issue implements issuer.
func (a *authority) issue(ctx context.Context, j job) ([]byte, error) {
	defer a.transport.CloseIdleConnections()
	way, err := a.prepare(ctx, j)
	if err != nil {
		return nil, err
	}
	defer way.done()
	core, err := a.account(ctx, j)
	if err != nil {
		return nil, explain(err)
	}
	pem, err := (&transaction{core: core, job: j, way: way}).run(ctx)
	var refused *Refused
	if err = explain(err); errors.As(err, &refused) {
		refused.Another = way.another
	}
	return pem, err
}

// explain turns an authority's refusal into words, without the request's URL.
func explain(err error) error {
	var limited *acme.RateLimitedError
	if errors.As(err, &limited) {
		wait, _ := strconv.Atoi(limited.RetryAfter)
		return &Refused{Text: "the authority has had too much: " + problemText(limited.ProblemDetails), Limited: true, RetryAfter: time.Duration(max(wait, 0)) * time.Second}
	}
	var problem *acme.ProblemDetails
	if errors.As(err, &problem) {
		return &Refused{Text: "the authority refuses: " + problemText(problem)}
	}
	return err
}

func problemText(p *acme.ProblemDetails) string {
	text := p.Detail
	for _, sub := range p.SubProblems {
		text += "; " + sub.Identifier.Value + ": " + sub.Detail
	}
	if text == "" {
		text = p.Type
	}
	return text
}

// transaction is one order with the authority: RFC 8555 §7.4.
type transaction struct {
	core *api.Core
	job  job
	way  *way
}

func (t *transaction) run(ctx context.Context) ([]byte, error) {
	options := &api.OrderOptions{Profile: t.job.Profile}
	if t.job.replaces != nil {
		options.ReplacesCertID, _ = certificate.MakeARICertID(t.job.replaces)
	}
	order, err := t.core.Orders.NewWithOptions(t.job.Domains, options)
	if err != nil {
		return nil, fmt.Errorf("order: %w", err)
	}
	for _, url := range order.Authorizations {
		if err := t.authorize(ctx, url); err != nil {
			return nil, err
		}
	}
	ready, err := t.await(ctx, order.Location, acme.StatusReady, acme.StatusValid)
	if err != nil {
		return nil, err
	}
	key, err := newKey(t.job.KeyType)
	if err != nil {
		return nil, err
	}
	if ready.Status == acme.StatusReady {
		template := &x509.CertificateRequest{}
		template.DNSNames, template.IPAddresses = identifiers(t.job.Domains)
		csr, err := x509.CreateCertificateRequest(rand.Reader, template, key)
		if err != nil {
			return nil, fmt.Errorf("certificate request: %w", err)
		}
		if _, err := t.core.Orders.UpdateForCSR(order.Finalize, csr); err != nil {
			return nil, fmt.Errorf("finalize: %w", err)
		}
	}
	done, err := t.await(ctx, order.Location, acme.StatusValid)
	if err != nil {
		return nil, err
	}
	chain, _, err := t.core.Certificates.Get(done.Certificate, true)
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return bundle(text, chain), nil
}

// await asks until the order has one of the states.
func (t *transaction) await(ctx context.Context, url string, states ...string) (order acme.ExtendedOrder, err error) {
	err = poll(ctx, func() (bool, error) {
		if order, err = t.core.Orders.Get(url); err != nil {
			return false, fmt.Errorf("order: %w", err)
		}
		for _, state := range states {
			if order.Status == state {
				return true, nil
			}
		}
		if order.Status == acme.StatusInvalid {
			return false, fmt.Errorf("order: %w", invalid(order.Error))
		}
		return false, nil
	})
	return order, err
}

// invalid is why an authority gave up.
func invalid(problem *acme.ProblemDetails) error {
	if problem == nil {
		return &Refused{Text: "the authority gave up and does not say why"}
	}
	return problem
}

// poll calls look, less and less often, until it is done or ctx is.
func poll(ctx context.Context, look func() (bool, error)) error {
	pause := pollFirst
	for {
		done, err := look()
		if done || err != nil {
			return err
		}
		if !sleep(ctx, pause) {
			return fmt.Errorf("the authority takes too long: %w", context.Cause(ctx))
		}
		pause = min(pause*3/2, pollMost)
	}
}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case constant.KeyEC384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case constant.KeyRSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case constant.KeyRSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// identifiers parts names from addresses.
func identifiers(all []string) (names []string, addresses []net.IP) {
	for _, one := range all {
		if ip := net.ParseIP(one); ip != nil {
			addresses = append(addresses, ip)
		} else {
			names = append(names, one)
		}
	}
	return names, addresses
}
