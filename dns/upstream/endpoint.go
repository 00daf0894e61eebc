package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// endpointTTL is how long the address of a server that was named by host is used.
const endpointTTL = 5 * time.Minute

// endpoint is where a server listens. A host is found through the system; its last good addresses
// are used on when the system fails.
type endpoint struct {
	addr netip.Addr // of a server given by address
	host string     // else
	port uint16

	mu      sync.Mutex
	found   []netip.Addr
	next    int // index into found, moved on by failed
	expires time.Time
}

func (e *endpoint) dial(ctx context.Context, network string) (net.Conn, error) {
	addr, err := e.resolve(ctx)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, network, netip.AddrPortFrom(addr, e.port).String())
}

func (e *endpoint) resolve(ctx context.Context) (netip.Addr, error) {
	if e.addr.IsValid() {
		return e.addr, nil
	}
	if addr, fresh := e.current(); fresh {
		return addr, nil
	}
	found, err := (&net.Resolver{PreferGo: true}).LookupNetIP(ctx, "ip", e.host)
	if err == nil && len(found) == 0 {
		err = errors.New("no address")
	}
	if err != nil {
		if addr, _ := e.current(); addr.IsValid() {
			return addr, nil
		}
		return netip.Addr{}, fmt.Errorf("find the server %s: %w", e.host, err)
	}
	for i := range found {
		found[i] = found[i].Unmap()
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
