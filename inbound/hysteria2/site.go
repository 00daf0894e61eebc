package hysteria2

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"heki/option"
	"heki/transport/tcp"
)

// Bounds of the site on TCP.
const (
	siteHeaderTimeout = 10 * time.Second
	siteIdleTimeout   = 75 * time.Second // nginx's
	altSvcAge         = 24 * time.Hour
)

// site serves the visitors' site on TCP too, and says there that it speaks HTTP/3: what a browser, and a
// prober, expects of a server on UDP 443.
type site struct {
	in     *Inbound
	pool   *tcp.Pool
	server http.Server
}

func newSite(in *Inbound, pool *tcp.Pool) *site {
	s := &site{in: in, pool: pool}
	s.server = http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: siteHeaderTimeout,
		IdleTimeout:       siteIdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(io.Discard, "", 0), // visitors' mistakes
	}
	return s
}

// start binds port of the inbound's addresses and serves.
func (s *site) start(ctx context.Context, port uint16) error {
	o := option.Listen{Listen: s.in.o.Listen.Listen, ListenPort: port, BindInterface: s.in.o.BindInterface, ReuseAddr: s.in.o.ReuseAddr}
	listeners, err := s.pool.Listen(ctx, &o)
	if err != nil {
		return fmt.Errorf("listen for masquerade_port: %w", err)
	}
	s.server.TLSConfig = s.in.web
	for _, l := range listeners {
		s.in.log.Info("listening", "address", l.Addr().String(), "protocol", "https", "network", "tcp")
		s.in.wg.Go(func() { _ = s.server.ServeTLS(l, "", "") }) // ends with close
	}
	return nil
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Alt-Svc", s.in.altSvc())
	s.in.masquerade.ServeHTTP(w, r)
}

// altSvc is where the site is served over HTTP/3: RFC 7838.
func (in *Inbound) altSvc() string {
	port := in.o.ListenPort
	if addrs := in.Addresses(); len(addrs) > 0 {
		if u, ok := addrs[0].(*net.UDPAddr); ok {
			port = uint16(u.Port) // as bound
		}
	}
	return fmt.Sprintf(`h3=":%d"; ma=%d`, port, int(altSvcAge.Seconds()))
}

// close ends the site and the visits.
func (s *site) close() { _ = s.server.Close() }
