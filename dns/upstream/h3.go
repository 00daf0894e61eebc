package upstream

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/url"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go/http3"

	"heki/option"
)

// h3 asks over HTTP/3.
type h3 struct {
	*link
	url *url.URL
}

func newH3(e *endpoint, path string, roots *x509.CertPool) *h3 {
	l := newLink(e, roots, http3.NextProtoH3)
	l.http = &http3.Transport{DisableCompression: true, MaxResponseHeaderBytes: maxHead}
	return &h3{l, urlOf(e, path)}
}

// Lookup implements Server.
func (h *h3) Lookup(ctx context.Context, name string, ipv6 bool) (Answer, error) {
	return lookup(name, ipv6, func(q *dns.Msg) (*dns.Msg, error) {
		reply, err := h.ask(ctx, func(conn *linkConn) (*dns.Msg, error) {
			return overHTTP(ctx, conn.http.RoundTrip, h.url, q)
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", option.DNSH3, err)
		}
		return reply, nil
	})
}
