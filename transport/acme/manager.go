// Package acme gets certificates from certificate authorities and renews them, and makes self-signed
// ones. Nodes that ask for the same certificate share it.
package acme

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-acme/lego/v4/challenge"

	"heki/option"
	tlsserver "heki/transport/tls"
)

// Providers makes those who put records into zones. provider.Table is one.
type Providers interface {
	// Check says what is wrong with a provider's name or its variables.
	Check(name string, env map[string]string) error
	// New makes a provider. Its error holds no value of env.
	New(name string, env map[string]string) (challenge.Provider, error)
}

// Config is what a Manager needs.
type Config struct {
	Dir       string // state_dir/acme: accounts and certificates
	Log       *slog.Logger
	Providers Providers

	issuer issuer // of tests
}

// concurrent is how many certificates are ordered at the same time.
const concurrent = 4

// Manager has the certificates of a process. Its methods are safe for concurrent use.
type Manager struct {
	cfg     Config
	issuer  issuer
	ctx     context.Context // ends all orders
	cancel  context.CancelFunc
	running sync.WaitGroup
	slots   chan struct{} // a place for each order on its way
	answers *answers
	making  sync.Mutex // of self-signed certificates: a short file at the start of a node

	mu     sync.Mutex
	orders map[string]*order
	closed bool
}

// New returns a manager without certificates. It touches no file and asks nobody.
func New(cfg Config) *Manager {
	ctx, cancel := context.WithCancel(context.Background())
	m := &Manager{
		cfg: cfg, ctx: ctx, cancel: cancel,
		slots:   make(chan struct{}, concurrent),
		answers: newAnswers(),
		orders:  make(map[string]*order),
	}
	m.issuer = cfg.issuer
	if m.issuer == nil {
		m.issuer = newAuthority(cfg, m.answers)
	}
	return m
}

// Close stops all orders and waits for them; an authority that does not answer does not hold it up.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.running.Wait()
	m.answers.close()
	return nil
}

// Certificate implements tls.Source.
func (m *Manager) Certificate(o *option.TLS) (tlsserver.Certificate, error) {
	if o.SelfSigned {
		return &selfSigned{manager: m, path: m.selfPath(o), name: selfName(o)}, nil
	}
	r := requestOf(o, m.cfg.Dir)
	if d := o.ACME.DNS01Challenge; d != nil {
		if m.cfg.Providers == nil {
			return nil, errors.New("acme.dns01_challenge is not available here")
		}
		if err := m.cfg.Providers.Check(d.Provider, d.Env); err != nil {
			return nil, option.Path("acme.dns01_challenge").Errorf("%w", err)
		}
	}
	return &holder{manager: m, request: r}, nil
}

// Challenge implements tls.Source.
func (m *Manager) Challenge(hello *tls.ClientHelloInfo) *tls.Config {
	return m.answers.tlsConfig(hello.ServerName)
}

// request says what an order is for, and how.
type request struct {
	identity
	o *option.ACME // challenges; those of the newest holder are used
}

// identity is what two nodes have in common that share a certificate.
type identity struct {
	Dir       string
	Directory string
	Account   string // email and external account
	KeyType   string
	Profile   string
	Domains   []string // in order; the file is called by the first one
}

func requestOf(o *option.TLS, dir string) request {
	a := o.ACME
	account := a.Email
	if a.ExternalAccount != nil {
		account += " " + a.ExternalAccount.KeyID
	}
	domains := slices.Clone([]string(a.Domain))
	slices.Sort(domains)
	return request{
		identity: identity{
			Dir: cmp.Or(a.DataDirectory, dir), Directory: a.Directory(), Account: account,
			KeyType: a.KeyType, Profile: a.Profile, Domains: slices.Compact(domains),
		},
		o: a,
	}
}

// key tells one certificate from another.
func (i identity) key() string {
	raw, err := json.Marshal(i)
	if err != nil { // text alone
		return ""
	}
	return hash(string(raw))
}

// path is the file of the certificate and its key.
func (i identity) path() string {
	return filepath.Join(i.Dir, "certificates", fileName(i.Domains[0])+"-"+i.key()+".pem")
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// fileName keeps what is safe in a file's name.
func fileName(domain string) string {
	name := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.':
			return c
		}
		return '_'
	}, strings.ToLower(domain))
	return strings.TrimLeft(name[:min(len(name), 100)], ".")
}

// holder is one server's share of an order.
type holder struct {
	manager *Manager
	request request

	order atomic.Pointer[order] // nil before Start

	mu        sync.Mutex // of Start and Stop
	listening []net.Addr
	stopped   bool
}

// Start implements tls.Certificate.
func (h *holder) Start(listening []net.Addr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.order.Load() != nil || h.stopped {
		return nil
	}
	h.listening = listening
	o, err := h.manager.join(h)
	h.order.Store(o)
	return err
}

// Stop implements tls.Certificate.
func (h *holder) Stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.order.Load(); o != nil && !h.stopped {
		h.manager.leave(h, o)
	}
	h.stopped = true
}

// Current implements tls.Certificate.
func (h *holder) Current() *tls.Certificate {
	if o := h.order.Load(); o != nil {
		return o.current.Load()
	}
	return nil
}

// join begins the order, or takes part in it.
func (m *Manager) join(h *holder) (*order, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errors.New("certificates are closed")
	}
	key := h.request.key()
	o := m.orders[key]
	if o == nil {
		ctx, cancel := context.WithCancel(m.ctx)
		o = &order{manager: m, identity: h.request.identity, cancel: cancel, holders: make(map[*holder]struct{}), changed: make(chan struct{}, 1)}
		o.log = m.cfg.Log.With("domain", strings.Join(o.Domains, ","))
		o.load()
		m.orders[key] = o
		m.running.Go(func() { o.run(ctx) })
	}
	o.add(h)
	return o, nil
}

// leave ends the order with its last holder.
func (m *Manager) leave(h *holder, o *order) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.remove(h) > 0 {
		return
	}
	o.cancel()
	if key := h.request.key(); m.orders[key] == o {
		delete(m.orders, key)
	}
}
