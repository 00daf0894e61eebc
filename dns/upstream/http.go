package upstream

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/miekg/dns"

	"heki/option"
)

const (
	maxMessage   = 1<<16 - 1
	messageType  = "application/dns-message"
	maxHead      = 16 << 10        // bytes of an answer's header fields
	pingAfter    = 3 * time.Second // of silence: else queries would go on into a connection that is dead
	pingTimeout  = 2 * time.Second
	agent        = "heki"
	rejectedText = "its answer is no DNS message"
)

// replyError is an answer over HTTP without a message. The connection is not at fault.
type replyError struct{ text string }

func (e *replyError) Error() string { return e.text }

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
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return e.dial(ctx, "tcp") },
		TLSClientConfig:        secure,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		MaxIdleConnsPerHost:    secureConns,
		IdleConnTimeout:        secureTimeout,
		MaxResponseHeaderBytes: maxHead,
		DisableCompression:     true,
	}}
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
		reply, err := overHTTP(ctx, h.pool.RoundTrip, h.url, q)
		if err != nil {
			h.at.failed()
			h.pool.CloseIdleConnections() // the next query shall not meet the same connection
			return nil, fmt.Errorf("%s: %w", option.DNSHTTPS, because(ctx, err))
		}
		return reply, nil
	})
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
	req.Header = http.Header{"Content-Type": {messageType}, "Accept": {messageType}, "User-Agent": {agent}}
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
		return nil, &replyError{"answered " + clip(res.Status)}
	case res.Header.Get("Content-Type") != messageType:
		return nil, &replyError{rejectedText + " but " + clip(res.Header.Get("Content-Type"))}
	case len(b) > maxMessage:
		return nil, &replyError{rejectedText + " but longer"}
	}
	return parseReply(b, q)
}

// clip makes a server's text fit a line of the log.
func clip(s string) string {
	const most = 60
	s = fmt.Sprintf("%q", s[:min(len(s), most)])
	return s
}
