// Package webapi makes the HTTP calls of panel clients: bounded bodies, validators, the panel's
// clock, and errors that say how far a call came.
package webapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"heki/constant"
	"heki/panel"
)

// Caller makes the calls of one client.
type Caller struct {
	base   string // no trailing slash
	secret string // never shown in an error
	env    panel.Env
}

// New returns a caller for the panel at base, an http or https URL whose path is kept. secret is cut
// out of every error text.
func New(env panel.Env, base, secret string) (*Caller, error) {
	u, err := url.Parse(base)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("url: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("url: must start with http:// or https:// and a host")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("url: must not have a query or fragment")
	}
	return &Caller{base: strings.TrimRight(base, "/"), secret: secret, env: env}, nil
}

// Validator remembers the last answer that was used of one GET.
type Validator struct {
	Bare bool // the panel wants the ETag back without its quotes

	etag string
	hash [sha256.Size]byte
	used bool
}

// Answer is a 2xx answer.
type Answer struct {
	Status int
	Body   []byte
	etag   string
	hash   [sha256.Size]byte
}

// Keep makes v remember a: call it once the answer was understood, so that one that was not is asked
// for again. An answer without an ETag leaves the body's hash to tell.
func (v *Validator) Keep(a *Answer) { v.etag, v.hash, v.used = a.etag, a.hash, true }

// Forget makes the next answer count as a new one.
func (v *Validator) Forget() { *v = Validator{Bare: v.Bare} }

// match is the value of If-None-Match. It is the ETag byte for byte: SSPanel compares the whole header.
func (v *Validator) match() string {
	if v.Bare {
		return strings.Trim(v.etag, `"`)
	}
	return v.etag
}

// Get fetches path?query. It returns panel.ErrNotModified after a 304 or when the body is the one that
// v keeps.
func (c *Caller) Get(ctx context.Context, call, path string, query url.Values, v *Validator) (*Answer, error) {
	req, err := c.request(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return nil, &panel.Error{Call: call, Class: panel.Unreachable, Err: err}
	}
	if v.etag != "" {
		req.Header.Set("If-None-Match", v.match())
	}
	a, err := c.do(req, call)
	if err != nil {
		return nil, err
	}
	if a.Status == http.StatusNotModified {
		if !v.used {
			return nil, &panel.Error{Call: call, Class: panel.Unclear, Status: a.Status, Err: errors.New("304 without an answer before")}
		}
		return nil, panel.ErrNotModified
	}
	a.hash = sha256.Sum256(a.Body)
	if v.used && a.hash == v.hash {
		v.etag = a.etag
		return nil, panel.ErrNotModified
	}
	return a, nil
}

// Post sends body as JSON to path?query.
func (c *Caller) Post(ctx context.Context, call, path string, query url.Values, body []byte) (*Answer, error) {
	req, err := c.request(ctx, http.MethodPost, path, query, body)
	if err != nil {
		return nil, &panel.Error{Call: call, Class: panel.Unreachable, Err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	return c.do(req, call)
}

func (c *Caller) request(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path+question(query), r)
	if err != nil {
		return nil, errors.New("url: cannot be used") // the cause would show the token
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "heki/"+constant.Version)
	return req, nil
}

// question is the query with its mark, if there is one.
func question(query url.Values) string {
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

// do sends req and reads the whole answer. Only 2xx and 304 are no error.
func (c *Caller) do(req *http.Request, call string) (*Answer, error) {
	var way progress
	sent := c.env.Now()
	resp, err := c.env.HTTP.Do(way.trace(req))
	if err != nil {
		return nil, &panel.Error{Call: call, Class: way.class(), Err: c.plain(err)}
	}
	defer resp.Body.Close()
	c.clock(resp, sent)

	body, err := read(resp)
	fail := &panel.Error{Call: call, Status: resp.StatusCode, After: retryAfter(resp, c.env.Now())}
	switch status := resp.StatusCode; {
	case status == http.StatusNotModified:
		return &Answer{Status: status}, nil
	case status >= 500:
		fail.Class = panel.Unclear
		fail.Said, fail.Err = c.explain(resp, body)
	case status >= 400:
		fail.Class = panel.Refused
		fail.Said, fail.Err = c.explain(resp, body)
	case status == http.StatusSeeOther: // the one redirect that says the request was acted on: RFC 9110 §15.4.4
		fail.Class, fail.Err = panel.Unclear, moved(resp)
	case status >= 300:
		fail.Class, fail.Err = panel.Refused, moved(resp)
	case err != nil:
		fail.Class, fail.Err = panel.Unclear, fmt.Errorf("read the answer: %w", c.plain(err))
	default:
		return &Answer{Status: status, Body: body, etag: resp.Header.Get("ETag")}, nil
	}
	return nil, fail
}

// Long is the HTTP client for connections that stay open.
func (c *Caller) Long() *http.Client { return c.env.Long }

// Plain is err without what would show the credentials, for errors of requests that others make.
func (c *Caller) Plain(err error) error { return c.plain(err) }

// read takes the body, which the transport has unpacked already, up to its bound.
func read(resp *http.Response) ([]byte, error) {
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= constant.MaxPanelAnswer {
		b.Grow(int(n) + bytes.MinRead)
	}
	n, err := b.ReadFrom(io.LimitReader(resp.Body, constant.MaxPanelAnswer+1))
	if n > constant.MaxPanelAnswer {
		return nil, fmt.Errorf("is larger than %d MiB", constant.MaxPanelAnswer>>20)
	}
	return b.Bytes(), err
}

// progress notes how far a request came. A report whose whole body may have reached the panel must never
// pass for one that did not: it would be billed twice. So the only proof that counts is, for each
// connection the transport gave the request to, that writing failed there.
//
// That is a proof: net/http reports an error of the write only when the connection refused bytes of the
// body (TCP takes them in order, and a TLS record that lacks some cannot be read), and no part of a JSON
// body that lacks its last byte is valid JSON. It writes through a buffer and reports success before the
// last flush, which may fail later: then a report that did not arrive counts as one that may have. A
// request that is cut by its context while the end is under way has no error yet and counts likewise.
// When the panel answers before it has read all, the answer decides, or the broken write, and both are
// true. The transport repeats a POST only if nothing of it was written; see panel.newTransport for how
// HTTP/2 differs.
type progress struct {
	open atomic.Int32 // connections over which the whole request may have gone
}

func (p *progress) trace(req *http.Request) *http.Request {
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { p.open.Add(1) }, // a connection is there, TLS included
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err != nil {
				p.open.Add(-1)
			}
		},
	}))
}

// class of a request that got no answer. In doubt it may have arrived.
func (p *progress) class() panel.Class {
	if p.open.Load() == 0 {
		return panel.Unreachable
	}
	return panel.Unclear
}

// plain strips what would show the token: url.Error carries the whole URL.
func (c *Caller) plain(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		if ue.Timeout() {
			return errors.New("timeout")
		}
		err = ue.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("timeout")
	}
	var op *net.OpError
	var dns *net.DNSError
	switch { // without local ports: the same failure must read the same each time
	case errors.As(err, &dns) && dns.IsTimeout:
		return fmt.Errorf("look up %s: timeout", dns.Name)
	case errors.As(err, &dns):
		return fmt.Errorf("look up %s: %s", dns.Name, dns.Err)
	case errors.As(err, &op) && op.Op == "dial" && op.Addr != nil:
		return fmt.Errorf("connect to %s: %w", op.Addr, rootOf(op))
	case errors.As(err, &op):
		return fmt.Errorf("%s: %w", op.Op, rootOf(op))
	}
	if c.secret != "" && strings.Contains(err.Error(), c.secret) {
		return errors.New("connection failed")
	}
	return err
}

// rootOf is the cause without the system call's name.
func rootOf(op *net.OpError) error {
	var sys *os.SyscallError
	if errors.As(op.Err, &sys) {
		return sys.Err
	}
	return op.Err
}

// clock tells the service how far the panel's clock is ahead of ours. Answers from a cache carry the
// time they were made.
func (c *Caller) clock(resp *http.Response, sent time.Time) {
	if c.env.Clock == nil || resp.Header.Get("Age") != "" {
		return
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return
	}
	rtt := c.env.Now().Sub(sent)
	const half = 500 * time.Millisecond // Date has whole seconds: on average half a second is cut off
	c.env.Clock(date.Add(half).Sub(sent.Add(rtt/2)), rtt)
}
