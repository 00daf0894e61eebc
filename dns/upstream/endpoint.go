package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"heki/option"
)

// endpointTTL is how long the address of a server that was named by host is used.
const endpointTTL = 5 * time.Minute

// endpoint is where a server listens. The last good addresses of a host are used on when it cannot be
// found any more.
type endpoint struct {
	addr netip.Addr // of a server given by address
	host string     // else
	port uint16
	find Finder

	mu      sync.Mutex
	found   []netip.Addr
	next    int // index into found, moved on by failed
	expires time.Time
}

func newEndpoint(a option.DNSAddress, find Finder) *endpoint {
	if find == nil {
		find = FindBySystem
	}
	e := &endpoint{port: a.Port, find: find}
	addr, err := netip.ParseAddr(a.Host)
	if err != nil {
		e.host = a.Host
	} else {
		e.addr = addr
	}
	return e
}

// name is what the server's certificate must be for.
func (e *endpoint) name() string {
	if e.host != "" {
		return e.host
	}
	return e.addr.Unmap().WithZone("").String()
}

// authority is the server in a URL.
func (e *endpoint) authority() string {
	name := e.name()
	if e.addr.Unmap().Is6() {
		name = "[" + name + "]"
	}
	if e.port == httpsPort {
		return name
	}
	return name + ":" + strconv.Itoa(int(e.port))
}

const httpsPort = 443

func (e *endpoint) dial(ctx context.Context, network string) (net.Conn, error) {
	at, err := e.where(ctx)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, network, at.String())
}

// where is an address of the server to try next.
func (e *endpoint) where(ctx context.Context) (netip.AddrPort, error) {
	addr, err := e.resolve(ctx)
	return netip.AddrPortFrom(addr, e.port), err
}

func (e *endpoint) resolve(ctx context.Context) (netip.Addr, error) {
	if e.addr.IsValid() {
		return e.addr, nil
	}
	if addr, fresh := e.current(); fresh {
		return addr, nil
	}
	found, err := e.find(ctx, e.host)
	if err == nil && len(found) == 0 {
		err = errors.New("no address")
	}
	if err != nil {
		if addr, _ := e.current(); addr.IsValid() {
			return addr, nil
		}
		return netip.Addr{}, fmt.Errorf("find the server %s: %w", e.host, err)
	}
	e.mu.Lock()
	e.found, e.next, e.expires = found, 0, time.Now().Add(endpointTTL)
	e.mu.Unlock()
	return found[0], nil
}

func (e *endpoint) current() (addr netip.Addr, fresh bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.found) == 0 {
		return netip.Addr{}, false
	}
	return e.found[e.next%len(e.found)], time.Now().Before(e.expires)
}

// failed makes the next query try another address of the host.
func (e *endpoint) failed() {
	e.mu.Lock()
	e.next++
	e.mu.Unlock()
}

// FindBySystem is the Finder that asks as other programs of this host do.
func FindBySystem(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := (&net.Resolver{PreferGo: true}).LookupNetIP(ctx, "ip", host)
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return found, err
}
