// Package provider makes lego's DNS providers: those who put the record of the dns-01 challenge into a
// domain's zone.
package provider

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/go-acme/lego/v4/challenge"
	legolog "github.com/go-acme/lego/v4/log"

	"heki/transport/acme"
)

// maker makes a provider from the process's environment, which is where lego's providers look for their
// credentials.
type maker func() (challenge.Provider, error)

func from[P challenge.Provider](make func() (P, error)) maker {
	return func() (challenge.Provider, error) {
		p, err := make()
		if err != nil {
			return nil, err // and no interface around a nil pointer
		}
		return p, nil
	}
}

// Table knows the providers. Its methods are safe for concurrent use.
type Table struct {
	makers map[string]maker
	mu     sync.Mutex // of the process's environment
}

// NewTable returns all providers.
func NewTable() *Table {
	quiet()
	t := &Table{makers: fromAToH()}
	maps.Copy(t.makers, fromIToZ())
	return t
}

// Names returns the providers' names in order, without aliases.
func (t *Table) Names() []string { return slices.Sorted(maps.Keys(t.makers)) }

// Check says what is wrong with a name or with the names of variables, never with their values.
func (t *Table) Check(name string, env map[string]string) error {
	canonical, _ := Canonical(name)
	if t.makers[canonical] == nil {
		return fmt.Errorf("provider %q is unknown; take one of lego's names (https://go-acme.github.io/lego/dns/), such as cloudflare, or acme.sh's, such as dns_cf", name)
	}
	for _, key := range slices.Sorted(maps.Keys(env)) {
		if !variable.MatchString(key) || reserved(key) {
			return fmt.Errorf("%q cannot be a variable of provider %s", key, canonical)
		}
	}
	return nil
}

// New makes the provider called name, which may be an alias, with the variables in env. Those that env has
// not may come from the process's own environment. The error never holds a value of env.
func (t *Table) New(name string, env map[string]string) (challenge.Provider, error) {
	if err := t.Check(name, env); err != nil {
		return nil, err
	}
	canonical, keys := Canonical(name)
	t.mu.Lock()
	defer t.mu.Unlock()
	var restore []func()
	defer func() {
		for _, undo := range slices.Backward(restore) {
			undo()
		}
	}()
	for key, value := range lego(env, keys) {
		undo, err := setenv(key, value)
		if err != nil {
			return nil, err
		}
		restore = append(restore, undo)
	}
	p, err := t.makers[canonical]()
	if err != nil {
		return nil, acme.Redact(err, env)
	}
	return p, nil
}

// lego returns env with lego's names. acme.sh has DNSPod's token in two parts.
func lego(env, keys map[string]string) map[string]string {
	all := make(map[string]string, len(env))
	for key, value := range env {
		if to := cmp.Or(keys[key], key); to != unused {
			all[to] = value
		}
	}
	if id, key := all[dnspodID], all[dnspodKey]; id != "" && key != "" {
		all["DNSPOD_API_KEY"] = id + "," + key
	}
	delete(all, dnspodID)
	delete(all, dnspodKey)
	return all
}

// Marks in the tables of aliases.
const (
	unused    = "HEKI_UNUSED" // lego does not need it
	dnspodID  = "HEKI_DP_ID"
	dnspodKey = "HEKI_DP_KEY"
)

// setenv sets key and returns what puts it back.
func setenv(key, value string) (func(), error) {
	before, was := os.LookupEnv(key)
	if err := os.Setenv(key, value); err != nil {
		return nil, fmt.Errorf("set variable %s of the DNS provider", key) // not err: it could quote the value
	}
	return func() {
		if was {
			_ = os.Setenv(key, before)
		} else {
			_ = os.Unsetenv(key)
		}
	}, nil
}

// variable is how the names of variables look, acme.sh's CF_Token and namesilo's too.
var variable = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*_[A-Za-z0-9_]+$`)

// reserved are variables that say how this process runs.
func reserved(key string) bool {
	upper := strings.ToUpper(key)
	for _, prefix := range []string{"LD_", "DYLD_", "HEKI_", "SSL_CERT_", "LEGO_", "XDG_", "LC_"} {
		if strings.HasPrefix(upper, prefix) {
			return true
		}
	}
	return strings.HasSuffix(upper, "_PROXY")
}

// quiet makes lego's own log lines, which go to standard error, go nowhere: heki says what matters itself.
var quiet = sync.OnceFunc(func() { legolog.Logger = silent{} })

// silent implements lego's logger.
type silent struct{}

func (silent) Fatal(...any)          {}
func (silent) Fatalln(...any)        {}
func (silent) Fatalf(string, ...any) {}
func (silent) Print(...any)          {}
func (silent) Println(...any)        {}
func (silent) Printf(string, ...any) {}
