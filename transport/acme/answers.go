package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-acme/lego/v4/challenge/tlsalpn01"
	"github.com/miekg/dns"
)

// answers are what authorities may find now.
type answers struct {
	mu    sync.Mutex
	pages map[string]string           // by token, of http-01
	names map[string]*tls.Certificate // by name, of tls-alpn-01
	doors map[netip.AddrPort]*door
	ended bool
	wg    sync.WaitGroup
}

// door is a listener of ours while an attempt needs it.
type door struct {
	users  int
	server *http.Server
}

func newAnswers() *answers {
	return &answers{pages: make(map[string]string), names: make(map[string]*tls.Certificate), doors: make(map[netip.AddrPort]*door)}
}

// pagePath is where an authority asks for a token: RFC 8555 §8.3.
const pagePath = "/.well-known/acme-challenge/"

func (a *answers) addPage(token, proof string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pages[token] = proof
}

func (a *answers) removePage(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pages, token)
}

// addName answers for a domain and returns what ends that.
func (a *answers) addName(domain, proof string) (func(), error) {
	cert, err := tlsalpn01.ChallengeCert(domain, proof)
	if err != nil {
		return nil, err
	}
	name := helloName(domain)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names[name] = cert
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.names, name)
	}, nil
}

// helloName is how an authority asks for an identifier: RFC 8738 §6 has addresses.
func helloName(domain string) string {
	addr, err := netip.ParseAddr(domain)
	if err != nil {
		return strings.ToLower(domain)
	}
	name, err := dns.ReverseAddr(addr.String())
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(name, ".")
}

// tlsConfig answers a handshake for name; nil: nobody is expected there.
func (a *answers) tlsConfig(name string) *tls.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	cert := a.names[strings.ToLower(strings.TrimSuffix(name, "."))]
	if cert == nil {
		return nil
	}
	return &tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: []string{tlsalpn01.ACMETLS1Protocol}, MinVersion: tls.VersionTLS12}
}

// ServeHTTP answers http-01. Whoever else comes finds nothing.
func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.URL.Path, pagePath)
	a.mu.Lock()
	proof := a.pages[token]
	a.mu.Unlock()
	if !ok || proof == "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, proof)
}

// visitTimeout bounds one visit of an authority, or of anybody else.
const visitTimeout = 10 * time.Second

// listen opens places, or those of them that can be had, until the function it returns is called. Attempts
// share them. With secure they speak TLS, which is all that tls-alpn-01 looks at.
func (a *answers) listen(ctx context.Context, places []netip.AddrPort, secure bool) (func(), error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return nil, http.ErrServerClosed
	}
	var errs []error
	var mine []netip.AddrPort
	for _, place := range places {
		d := a.doors[place]
		if d == nil {
			l, err := bind(ctx, place)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			d = &door{server: a.server()}
			a.doors[place] = d
			a.wg.Go(func() { a.serve(d.server, l, secure) })
		}
		d.users++
		mine = append(mine, place)
	}
	if len(mine) == 0 {
		return nil, errors.Join(errs...)
	}
	return func() { a.leave(mine) }, nil
}

func bind(ctx context.Context, place netip.AddrPort) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", place.String())
	if err != nil && place.Addr() == netip.IPv6Unspecified() && !errors.Is(err, syscall.EADDRINUSE) { // a machine without IPv6
		return config.Listen(ctx, "tcp4", netip.AddrPortFrom(netip.IPv4Unspecified(), place.Port()).String())
	}
	return l, err
}

func (a *answers) server() *http.Server {
	return &http.Server{
		Handler:        a,
		ReadTimeout:    visitTimeout,
		WriteTimeout:   visitTimeout,
		MaxHeaderBytes: 8 << 10,
		ErrorLog:       log.New(io.Discard, "", 0), // visitors' mistakes
		TLSConfig: &tls.Config{
			NextProtos: []string{tlsalpn01.ACMETLS1Protocol},
			GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				if config := a.tlsConfig(hello.ServerName); config != nil {
					return config, nil
				}
				return nil, errors.New("nobody is expected")
			},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil },
		},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){
			tlsalpn01.ACMETLS1Protocol: func(_ *http.Server, c *tls.Conn, _ http.Handler) { _ = c.Close() },
		},
	}
}

// serve ends with leave.
func (a *answers) serve(s *http.Server, l net.Listener, secure bool) {
	if secure {
		_ = s.ServeTLS(l, "", "")
		return
	}
	_ = s.Serve(l)
}

func (a *answers) leave(places []netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, place := range places {
		d := a.doors[place]
		if d.users--; d.users == 0 {
			_ = d.server.Close()
			delete(a.doors, place)
		}
	}
}

// close ends all listeners and waits.
func (a *answers) close() {
	a.mu.Lock()
	a.ended = true
	for place, d := range a.doors {
		_ = d.server.Close()
		delete(a.doors, place)
	}
	a.mu.Unlock()
	a.wg.Wait()
}
