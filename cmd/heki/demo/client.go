package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/constant"
	"heki/internal/protocol/trojan"
	"heki/panel/paneltest"
)

// downloads are of downloadSize every downloadEvery, for each user that takes part.
const (
	downloadSize  = 2 << 20
	downloadEvery = 500 * time.Millisecond
)

// traffic starts a web server on loopback and clients that download from it through the Trojan node,
// so that there is something to see. stop ends them.
func (w *world) traffic() (stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	site := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 32<<10)
		for range downloadSize / len(chunk) {
			if _, err := out.Write(chunk); err != nil {
				return
			}
		}
	})}
	go site.Serve(l)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, n := range w.nodes {
		if n.Protocol != constant.TypeTrojan {
			continue
		}
		for _, u := range w.users[:2] {
			client := w.client(n, u, l.Addr())
			wg.Go(func() { download(ctx, client, l.Addr().String()) })
		}
	}
	return func() {
		cancel()
		wg.Wait()
		site.Close()
	}, nil
}

// client is an HTTP client whose every connection goes through node n as user u to target.
func (w *world) client(n paneltest.Node, u paneltest.User, target net.Addr) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.cert)
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: n.ServerName}}
	header := trojan.AppendRequest(nil, trojan.Request{
		Key: trojan.KeyOf(u.UUID), Command: trojan.CommandTCP, Destination: M.SocksaddrFromNet(target),
	})
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, "tcp", address(n))
			if err != nil {
				return nil, err
			}
			_, err = c.Write(header)
			return c, err
		},
	}}
}

func download(ctx context.Context, c *http.Client, host string) {
	defer c.CloseIdleConnections()
	tick := time.NewTicker(downloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/", host), nil)
		if err != nil {
			return
		}
		resp, err := c.Do(req)
		if err != nil {
			continue
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}
