package acme

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"heki/constant"
	"heki/option"
	tlsserver "heki/transport/tls"
)

// fakeCA issues at once, or fails as it is told.
type fakeCA struct {
	mu     sync.Mutex
	life   time.Duration
	err    error
	issued []time.Time
	jobs   []job
	early  time.Time     // the window's start; zero: none
	behind time.Duration // its clock, to ours
	block  bool          // until the caller gives up
}

func (f *fakeCA) issue(ctx context.Context, j job) ([]byte, error) {
	f.mu.Lock()
	block := f.block
	f.mu.Unlock()
	if block {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.issued, f.jobs = append(f.issued, time.Now()), append(f.jobs, j)
	if f.err != nil {
		return nil, f.err
	}
	return issued(j.Domains, time.Now().Add(-f.behind), f.life)
}

func (f *fakeCA) window(context.Context, identity, *x509.Certificate) (from, to time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.early.IsZero() {
		return from, to, nil
	}
	return f.early, f.early.Add(time.Second), nil
}

func (f *fakeCA) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.issued)
}

func (f *fakeCA) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// issued is a certificate as an authority makes it, signed by itself.
func issued(domains []string, now time.Time, life time.Duration) ([]byte, error) {
	key, err := newKey(constant.KeyEC256)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), NotBefore: now, NotAfter: now.Add(life), DNSNames: domains}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	text, err := encodeKey(key)
	return bundle(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), err
}

func wish(domain string) *option.TLS {
	return &option.TLS{Enabled: true, ACME: &option.ACME{Domain: []string{domain}, KeyType: constant.KeyEC256}}
}

func manager(t *testing.T, dir string, ca *fakeCA) *Manager {
	t.Helper()
	return New(Config{Dir: dir, Log: slog.New(slog.DiscardHandler), issuer: ca})
}

func start(t *testing.T, m *Manager, o *option.TLS) tlsserver.Certificate {
	t.Helper()
	c, err := m.Certificate(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(nil); err != nil {
		t.Fatal(err)
	}
	return c
}

const day = 24 * time.Hour

// Two nodes share an order; a restart orders nothing; a renewal comes before a third of the life is left
// and not much earlier; without nodes nothing is renewed.
func TestLife(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca := &fakeCA{life: 90 * day}
		m := manager(t, dir, ca)
		a, b := start(t, m, wish("a.example")), start(t, m, wish("a.example"))
		synctest.Wait()
		if ca.count() != 1 || a.Current() == nil || a.Current() != b.Current() {
			t.Fatalf("%d orders, certificates %p and %p", ca.count(), a.Current(), b.Current())
		}
		first := a.Current()
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}

		m = manager(t, dir, ca)
		a = start(t, m, wish("a.example"))
		if got := a.Current(); got == nil || !bytes.Equal(got.Leaf.Raw, first.Leaf.Raw) {
			t.Fatal("the kept certificate is not there at once")
		}
		time.Sleep(54 * day)
		if ca.count() != 1 {
			t.Fatal("renewed before it was due")
		}
		time.Sleep(7 * day)
		if ca.count() != 2 || bytes.Equal(a.Current().Leaf.Raw, first.Leaf.Raw) {
			t.Fatalf("not renewed: %d orders", ca.count())
		}
		if ca.jobs[1].replaces == nil {
			t.Error("the authority is not told what the new one replaces")
		}
		a.Stop()
		time.Sleep(365 * day)
		if ca.count() != 2 {
			t.Error("renewed for nobody")
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// An authority that wants a certificate renewed early gets its way.
func TestWindow(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca := &fakeCA{life: 90 * day}
		m := manager(t, dir, ca)
		defer m.Close()
		start(t, m, wish("a.example"))
		time.Sleep(46 * day)
		ca.mu.Lock()
		ca.early = time.Now().Add(day)
		ca.mu.Unlock()
		time.Sleep(2 * day)
		if ca.count() != 2 {
			t.Errorf("%d orders, want 2", ca.count())
		}
	})
}

// Failures pause longer and longer, and as long as the authority says.
func TestPauses(t *testing.T) {
	for _, tt := range []struct {
		name      string
		err       error
		low, most int // attempts within a day
	}{
		{"down", errors.New("dial: refused"), 8, 14},
		{"refused", fmt.Errorf("a.example: %w", &Refused{Text: "no"}), 7, 14},
		{"limited", &Refused{Limited: true}, 5, 14},
		{"limited until", &Refused{Limited: true, RetryAfter: 12 * time.Hour}, 2, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				ca := &fakeCA{life: 90 * day, err: tt.err}
				m := manager(t, dir, ca)
				defer m.Close()
				c := start(t, m, wish("a.example"))
				time.Sleep(day)
				if n := ca.count(); n < tt.low || n > tt.most {
					t.Errorf("%d attempts in a day, want %d to %d", n, tt.low, tt.most)
				}
				inHour := 0
				for _, at := range ca.issued {
					if at.Sub(ca.issued[0]) < time.Hour {
						inHour++
					}
				}
				if _, ok := errors.AsType[*Refused](tt.err); ok && inHour > 4 {
					t.Errorf("%d refused attempts in an hour", inHour)
				}
				ca.fail(nil)
				time.Sleep(day)
				if c.Current() == nil {
					t.Error("no certificate although the authority is back")
				}
			})
		})
	}
}

// Settings that are others now are tried at once, whatever the pause was.
func TestChangedSettings(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca := &fakeCA{life: 90 * day, err: &Refused{Limited: true, RetryAfter: 100 * day}}
		m := manager(t, dir, ca)
		defer m.Close()
		old := start(t, m, wish("a.example"))
		time.Sleep(day)
		ca.fail(nil)
		again := start(t, m, wish("a.example"))
		synctest.Wait()
		if ca.count() != 1 {
			t.Fatal("the same settings end the pause")
		}
		other := wish("a.example")
		other.ACME.DisableHTTPChallenge = true
		last := start(t, m, other)
		old.Stop()
		again.Stop()
		synctest.Wait()
		if ca.count() != 2 || last.Current() == nil {
			t.Errorf("%d orders, certificate %p", ca.count(), last.Current())
		}
	})
}

// A machine whose clock is a year ahead does not order without end.
func TestWrongClock(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca := &fakeCA{life: 90 * day, behind: 365 * day}
		m := manager(t, dir, ca)
		defer m.Close()
		start(t, m, wish("a.example"))
		time.Sleep(30 * day)
		if n := ca.count(); n != 1 {
			t.Errorf("%d orders in a month", n)
		}
	})
}

// Close does not wait for an authority that does not answer.
func TestClose(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := manager(t, dir, &fakeCA{block: true})
		c := start(t, m, wish("a.example"))
		synctest.Wait()
		began := time.Now()
		if err := m.Close(); err != nil || c.Current() != nil || time.Since(began) > 0 {
			t.Errorf("err %v, certificate %p, after %s", err, c.Current(), time.Since(began))
		}
		if err := c.Start(nil); err != nil { // it has been started
			t.Error(err)
		}
		if c, _ := m.Certificate(wish("b.example")); c.Start(nil) == nil {
			t.Error("an order after Close")
		}
	})
}

// What differs has its own certificate; what only looks different has not.
func TestIdentity(t *testing.T) {
	base := requestOf(wish("a.example"), "d").key()
	other := wish("a.example")
	other.ACME.DisableHTTPChallenge = true
	if requestOf(other, "d").key() != base {
		t.Error("the way of asking makes another certificate")
	}
	for name, change := range map[string]func(*option.ACME){
		"domain":    func(a *option.ACME) { a.Domain = []string{"b.example"} },
		"email":     func(a *option.ACME) { a.Email = "a@b.c" },
		"authority": func(a *option.ACME) { a.Provider = constant.ACMEZeroSSL },
		"key":       func(a *option.ACME) { a.KeyType = constant.KeyRSA2048 },
	} {
		o := wish("a.example")
		change(o.ACME)
		if requestOf(o, "d").key() == base {
			t.Errorf("%s makes no other certificate", name)
		}
	}
	two, reversed := wish("a.example"), wish("b.example")
	two.ACME.Domain = append(two.ACME.Domain, "b.example")
	reversed.ACME.Domain = append(reversed.ACME.Domain, "a.example")
	if requestOf(two, "d").key() != requestOf(reversed, "d").key() {
		t.Error("the order of the domains makes another certificate")
	}
}

// A self-signed certificate stays over restarts, and two nodes of one name have one.
func TestSelfSigned(t *testing.T) {
	dir := t.TempDir()
	o := &option.TLS{Enabled: true, SelfSigned: true, ServerName: "a.example"}
	var raw []byte
	for range 3 {
		m := manager(t, dir, &fakeCA{})
		c := start(t, m, o)
		if err := c.Current().Leaf.VerifyHostname("a.example"); err != nil {
			t.Error(err)
		}
		if raw != nil && !bytes.Equal(raw, c.Current().Leaf.Raw) {
			t.Error("another certificate after a restart")
		}
		raw = c.Current().Leaf.Raw
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The files are for nobody else.
func TestModes(t *testing.T) {
	dir := t.TempDir()
	m := manager(t, dir, &fakeCA{})
	start(t, m, &option.TLS{SelfSigned: true, ServerName: "a.example"})
	defer m.Close()
	path := m.selfPath(&option.TLS{ServerName: "a.example"})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if name := fileName("../../*.a/b"); strings.ContainsAny(name, "/*") || strings.HasPrefix(name, ".") {
		t.Errorf("file name %q", name)
	}
}

// An authority that looks at the TLS port gets its answer, and nobody else does.
func TestChallenge(t *testing.T) {
	m := manager(t, t.TempDir(), &fakeCA{})
	defer m.Close()
	end, err := m.answers.addName("A.example", "proof")
	if err != nil {
		t.Fatal(err)
	}
	if m.Challenge(&tls.ClientHelloInfo{ServerName: "a.example"}) == nil {
		t.Error("no answer")
	}
	if m.Challenge(&tls.ClientHelloInfo{ServerName: "b.example"}) != nil {
		t.Error("an answer for a name that nobody asked about")
	}
	end()
	if m.Challenge(&tls.ClientHelloInfo{ServerName: "a.example"}) != nil {
		t.Error("an answer after the challenge")
	}
}
