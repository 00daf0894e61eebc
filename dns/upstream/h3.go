package upstream

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"sync"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"heki/option"
)

// h3 asks over HTTP/3.
type h3 struct {
	*link
	url *url.URL
	to  *http3.Transport // makes clients, and has no connections of its own

	clientMu sync.Mutex
	client   *http3.ClientConn // for clientOf
	clientOf *quic.Conn
}

func newH3(e *endpoint, path string, roots *x509.CertPool) *h3 {
	return &h3{
		link: newLink(e, roots, http3.NextProtoH3),
		url:  urlOf(e, path),
		to:   &http3.Transport{DisableCompression: true, MaxResponseHeaderBytes: maxHead},
	}
}

// Lookup implements Server.
func (h *h3) Lookup(ctx context.Context, name string, ipv6 bool) (Answer, error) {
	return lookup(name, ipv6, func(q *dns.Msg) (*dns.Msg, error) {
		reply, err := h.ask(ctx, func(conn *quic.Conn) (*dns.Msg, error) {
			return overHTTP(ctx, h.on(conn).RoundTrip, h.url, q)
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", option.DNSH3, err)
		}
		return reply, nil
	})
}

// on is HTTP/3 upon conn, which may have it once.
func (h *h3) on(conn *quic.Conn) *http3.ClientConn {
	h.clientMu.Lock()
	defer h.clientMu.Unlock()
	if h.clientOf != conn {
		h.client, h.clientOf = h.to.NewClientConn(conn), conn
	}
	return h.client
}
