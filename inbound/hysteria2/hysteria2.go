// Package hysteria2 answers Hysteria 2 clients: QUIC and HTTP/3, to which whoever is not a user is
// an ordinary visitor.
package hysteria2

import (
	"context"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sagernet/quic-go"
	"github.com/sagernet/quic-go/http3"
	bbr "github.com/sagernet/sing-quic/congestion_meta2"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/option"
	"heki/transport/tls"
)

// Inbound is a Hysteria 2 server.
type Inbound struct {
	tag        string
	o          *option.Hysteria2
	log        *slog.Logger
	pool       *Pool
	dispatcher *inbound.Dispatcher
	security   *tls.Server
	tls, web   *stdtls.Config // of QUIC and of the site on TCP
	site       *site          // nil: none on TCP
	quic       *quic.Config
	rates      rates
	masquerade http.Handler
	users      inbound.Table[string] // by password
	live       inbound.Live[string]
	ids        atomic.Uint32
	wg         sync.WaitGroup // connections

	mu      sync.Mutex
	open    []*listener
	conns   map[*quic.Conn]struct{}
	retired bool // takes no new connections
}

// Register adds the type to r. pool holds the sockets of all inbounds of the process.
func Register(r *inbound.Registry, pool *Pool) {
	inbound.Register(r, constant.TypeHysteria2, func(env inbound.Env, tag string, o *option.Hysteria2) (adapter.Inbound, error) {
		return New(env, tag, o, pool)
	})
}

// New builds the inbound. It reads certificates but binds nothing, and serves nobody before SwapUsers.
func New(env inbound.Env, tag string, o *option.Hysteria2, pool *Pool) (adapter.Inbound, error) {
	in := &Inbound{
		tag: tag, o: o, pool: pool,
		log:        env.Log.With("inbound", tag),
		dispatcher: inbound.NewDispatcher(env, &o.Stream),
		quic:       quicConfig(),
		conns:      make(map[*quic.Conn]struct{}),
	}
	server, err := tls.NewFrom(o.TLS, []string{http3.NextProtoH3}, env.Certificates)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	server.ReportTo(func(err error) { in.log.Warn("certificate", "err", err) })
	in.security = server
	in.tls, in.web = server.QUIC(http3.NextProtoH3), server.Web()
	if o.MasqueradePort != 0 {
		in.site = newSite(in, env.Listeners)
	}
	if in.masquerade, err = masquerade(o.Masquerade); err != nil {
		return nil, fmt.Errorf("masquerade: %w", err)
	}
	in.rates = ratesOf(o)
	if o.BBRProfile != "" {
		if in.rates.profile, err = bbr.ParseProfile(o.BBRProfile); err != nil {
			return nil, fmt.Errorf("bbr_profile: %w", err)
		}
	}
	return in, nil
}

// Bounds of a connection; those of official servers, but for the number of streams, which they have at
// 1024.
const (
	streamWindow = 8 << 20
	connWindow   = 20 << 20
	maxStreams   = 4096
	idleTimeout  = 30 * time.Second
)

func quicConfig() *quic.Config {
	return &quic.Config{
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     connWindow,
		MaxIncomingStreams:             maxStreams,
		MaxIdleTimeout:                 idleTimeout,
		EnableDatagrams:                true,
		DisablePathMTUDiscovery:        runtime.GOOS != "linux",
		DisablePathManager:             true, // a client that hops ports comes from a new one each time
	}
}

// Tag implements adapter.Inbound.
func (in *Inbound) Tag() string { return in.tag }

// Addresses returns the addresses it listens on.
func (in *Inbound) Addresses() []net.Addr {
	in.mu.Lock()
	defer in.mu.Unlock()
	addrs := make([]net.Addr, len(in.open))
	for i, l := range in.open {
		addrs[i] = l.addr()
	}
	return addrs
}

// Open returns how many connections are open.
func (in *Inbound) Open() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.conns)
}

// Start binds the addresses and accepts.
func (in *Inbound) Start() error {
	listeners, err := in.pool.listen(context.Background(), in)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	in.mu.Lock()
	in.open = listeners
	in.mu.Unlock()
	if err := in.security.Start(in.Addresses()); err != nil {
		return fmt.Errorf("tls: %w", errors.Join(err, in.Close()))
	}
	if in.site != nil {
		if err := in.site.start(context.Background(), in.o.MasqueradePort); err != nil {
			return errors.Join(err, in.Close())
		}
	}
	for _, l := range listeners {
		in.log.Info("listening", "address", l.addr().String(), "protocol", constant.TypeHysteria2, "network", "udp")
	}
	return nil
}

// Retire takes no new connections and lets those that are open live. Close ends those too.
func (in *Inbound) Retire() {
	if in.site != nil {
		in.site.close()
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.retired = true
	in.security.Stop()
	for _, l := range in.open {
		l.retire()
	}
}

// Close closes what is open and waits.
func (in *Inbound) Close() error {
	in.Retire()
	in.mu.Lock()
	listeners := in.open
	in.open = nil
	for c := range in.conns {
		_ = c.CloseWithError(codeNoError, "")
	}
	in.mu.Unlock()
	in.wg.Wait()
	for _, l := range listeners {
		l.close()
	}
	in.dispatcher.Close()
	return nil
}

// Wait returns when a retired inbound has no connection left, or ctx is done.
func (in *Inbound) Wait(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		in.wg.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		_ = in.Close()
		<-done
	}
}

// accept serves conn on a goroutine of its own.
func (in *Inbound) accept(conn *quic.Conn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.retired {
		_ = conn.CloseWithError(codeNoError, "")
		return
	}
	in.conns[conn] = struct{}{}
	in.wg.Go(func() {
		newSession(in, conn).serve()
		in.mu.Lock()
		defer in.mu.Unlock()
		delete(in.conns, conn)
	})
}

// SwapUsers implements adapter.UserManager. It ends the connections of users who are gone.
func (in *Inbound) SwapUsers(users []*adapter.User) error {
	err := in.users.Swap(users, func(u *adapter.User) (string, error) {
		if u.Password == "" {
			return "", errors.New("has no password")
		}
		return u.Password, nil
	})
	if err == nil {
		in.live.Sweep(&in.users)
	}
	return err
}

var (
	_ adapter.Inbound     = (*Inbound)(nil)
	_ adapter.UserManager = (*Inbound)(nil)
)
