package upstream

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"heki/constant"
	"heki/option"
)

const (
	maxMessage  = 1<<16 - 1
	messageType = "application/dns-message"
	maxHead     = 16 << 10        // bytes of an answer's header fields
	pingAfter   = 3 * time.Second // of silence: else queries would go on into a connection that is dead
	pingTimeout = 2 * time.Second
)

// replyError is an answer over HTTP without a message. The connection is not at fault.
type replyError struct{ text string }

func (e *replyError) Error() string { return e.text }

// answered says that err is about what the server answered, so that its connection is fine.
func answered(err error) bool {
	_, is := errors.AsType[*replyError](err)
	return is || errors.Is(err, errMismatch)
}

// https asks over HTTP/2, or HTTP/1.1 where the server has no better. It shares no connection with
// other users of net/http.
type https struct {
	at   *endpoint
	url  *url.URL
	pool *http.Transport
}

func newHTTPS(e *endpoint, path string, roots *x509.CertPool) *https {
	secure := tlsConfig(e, roots, "h2")
	secure.NextProtos = append(secure.NextProtos, "http/1.1")
	return &https{at: e, url: urlOf(e, path), pool: &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dialShared(ctx, e) },
		TLSClientConfig:        secure,
		TLSHandshakeTimeout:    constant.DNSTimeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		MaxIdleConnsPerHost:    secureConns,
		IdleConnTimeout:        secureTimeout,
		MaxResponseHeaderBytes: maxHead,
		DisableCompression:     true,
	}}
}

// dialShared bounds a dial that goes on when the query that began it has ended.
func dialShared(ctx context.Context, e *endpoint) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, constant.DNSTimeout)
	defer cancel()
	return e.dial(ctx, "tcp")
}

// urlOf is where queries go. path may hold a query of its own.
func urlOf(e *endpoint, path string) *url.URL {
	path, query, _ := strings.Cut(path, "?")
	u := &url.URL{Scheme: "https", Host: e.authority(), Path: path, RawQuery: query}
	if plain, err := url.PathUnescape(path); err == nil {
		u.Path, u.RawPath = plain, path
	}
	return u
}

// Lookup implements Server.
func (h *https) Lookup(ctx context.Context, name string, ipv6 bool) (Answer, error) {
	return lookup(name, ipv6, func(q *dns.Msg) (*dns.Msg, error) {
		reply, err := h.exchange(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", option.DNSHTTPS, because(ctx, err))
		}
		return reply, nil
	})
}

// exchange asks again with another connection when one from before turns out to be dead.
func (h *https) exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	for {
		var reused atomic.Bool // the hook may be called late, from another goroutine
		traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused.Store(c.Reused) }})
		reply, err := overHTTP(traced, h.pool.RoundTrip, h.url, q)
		if err == nil || abandoned(ctx) || answered(err) {
			return reply, err
		}
		h.pool.CloseIdleConnections()
		if !reused.Load() || ctx.Err() != nil {
			h.at.failed()
			return nil, err
		}
	}
}

// Close implements Server.
func (h *https) Close() error {
	h.pool.CloseIdleConnections()
	return nil
}

// overHTTP posts q. Redirections are not followed: a DNS server has no reason for them.
func overHTTP(ctx context.Context, send func(*http.Request) (*http.Response, error), to *url.URL, q *dns.Msg) (*dns.Msg, error) {
	q.Id = 0 // RFC 8484 §4.1: so that caches can answer
	out, err := q.Pack()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+to.Host, bytes.NewReader(out))
	if err != nil {
		return nil, err
	}
	req.URL = to
	req.Header = http.Header{"Content-Type": {messageType}, "Accept": {messageType}, "User-Agent": {""}} // §8.2: tell nothing
	res, err := send(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxMessage+1))
	switch {
	case err != nil:
		return nil, err
	case res.StatusCode != http.StatusOK:
		return nil, &replyError{fmt.Sprintf("answered %d %s", res.StatusCode, http.StatusText(res.StatusCode))}
	case !isMessage(res.Header):
		return nil, &replyError{fmt.Sprintf("answered with the content type %q", clip(res.Header.Get("Content-Type")))}
	case len(b) > maxMessage:
		return nil, &replyError{fmt.Sprintf("answered with more than %d bytes", maxMessage)}
	}
	return parseReply(b, q)
}

func isMessage(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), messageType)
}

// clip makes a server's text fit a line of the log.
func clip(s string) string {
	const most = 60
	return s[:min(len(s), most)]
}
