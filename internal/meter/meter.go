// Package meter is the money part: it counts every user's bytes, paces and limits the connections,
// cuts those of users who are gone, and carries the counts to the panel without losing or inventing one.
//
//	Ledger ── Node ── Meter ── lease      counting: one atomic add per chunk, no lock
//	            │
//	          Outbox ── Journal           reporting: counters → disk → panel, see outbox.go
//
// A Meter belongs to one user on one node and one credential. What must hold for the user as a whole
// (speed, connections, addresses) is kept once per scope, normally a panel: a user on three nodes of
// one process has one speed and one set of addresses.
package meter

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"heki/adapter"
)

// maxDebtWait bounds how long Open makes a new connection wait for the account's debt.
const maxDebtWait = 2 * time.Second

// Meter counts, paces and limits one user on one node, for one credential. It implements
// adapter.Meter. All methods are safe for concurrent use; Kick and SetLimits are harmless on nil.
type Meter struct {
	up   atomic.Int64 // bytes towards the remote not taken yet
	_    [56]byte     // the two copying goroutines of a connection must not share a cache line
	down atomic.Int64 // bytes towards the client not taken yet
	_    [56]byte

	node    *Node
	person  *person
	key     userKey
	speed   atomic.Int64 // bytes per second each way; 0 is unlimited
	retired atomic.Bool  // written under person.mu
	retuned broadcast    // speed changed or meter retired: sleepers look again

	older *Meter // same user, older credential; guarded by node.mu
	taken int64  // bytes ever taken, both ways; guarded by node.mu
	told  int64  // bytes ever counted when Online last looked; guarded by node.mu

	// Guarded by person.mu.
	name      string
	connLimit int
	ipLimit   int
	first     *lease  // seated leases
	seated    int     // their number
	held      int     // leases not closed yet, killed ones included: they may still count
	addrs     addrSet // addresses on this node, for Online
}

// person is one user of a scope: what the meters on all its nodes share.
type person struct {
	up, down bucket
	scope    *scope
	refs     int // meters that point here; guarded by scope.mu

	mu    sync.Mutex
	conns int     // seated leases of all meters
	addrs addrSet // their addresses, for the IP limit
	afar  int     // addresses that the panel knows of other processes' nodes
	tuned int64   // the rate the buckets' debt is expressed in
}

// userKey tells users apart: by id where there is one, else by name.
type userKey struct {
	id   int64
	name string
}

func keyOf(id int64, name string) userKey {
	if id != 0 {
		return userKey{id: id}
	}
	return userKey{name: name}
}

// String names the user in errors.
func (k userKey) String() string {
	if k.id != 0 {
		return "user " + strconv.FormatInt(k.id, 10)
	}
	return "user " + strconv.Quote(k.name)
}

// Open admits a connection from source. It first waits out the debt that the account's traffic so far
// has left in its buckets, at most 2 s: without it every short connection would get one chunk free.
//
// Errors wrap adapter.ErrLimited and name the limit and its value, or are ctx's when ctx ends first.
// kill may be nil. It is called at most once, by Kick, outside all locks, and possibly before Open
// returns or just after the lease was closed. A meter retired before Open returns a lease never
// returns one; a lease returned before is known to every later Kick.
func (m *Meter) Open(ctx context.Context, source netip.Addr, kill func()) (adapter.Lease, error) {
	return m.open(ctx, source, kill, true)
}

// OpenDevice is Open without the limit of addresses: the protocol has counted the user's devices. The
// address counts for what is told to the panel, and for other nodes.
func (m *Meter) OpenDevice(ctx context.Context, source netip.Addr, kill func()) (adapter.Lease, error) {
	return m.open(ctx, source, kill, false)
}

func (m *Meter) open(ctx context.Context, source netip.Addr, kill func(), countIPs bool) (adapter.Lease, error) {
	if err := m.waitDebt(ctx); err != nil {
		return nil, err
	}
	l, err := m.admit(source, kill, countIPs)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// waitDebt sleeps the debt found on arrival. It does not look again afterwards: connections that keep
// the account busy renew the debt all the time, and a newcomer has its turn among them, not after them.
func (m *Meter) waitDebt(ctx context.Context) error {
	if m.retired.Load() || !m.paced() {
		return nil
	}
	retuned, nodeRetuned := m.retuned.wait(), m.node.retuned.wait()
	wait := min(m.debt(m.node.now()), int64(maxDebtWait))
	if wait < minSleep {
		return nil
	}
	timer := time.NewTimer(time.Duration(wait))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-retuned:
	case <-nodeRetuned:
	case <-ctx.Done():
		return fmt.Errorf("%s: wait for bandwidth: %w", m.key, context.Cause(ctx))
	}
	return nil
}

// debt is the longest wait any bucket asks of a newcomer, in nanoseconds.
func (m *Meter) debt(now int64) int64 {
	var wait int64
	if m.speed.Load() > 0 {
		wait = max(m.person.up.debt(now), m.person.down.debt(now))
	}
	if m.node.speed.Load() > 0 {
		wait = max(wait, m.node.up.debt(now), m.node.down.debt(now))
	}
	return wait
}

// admit checks the limits and takes the seat in one critical section, so that a limit of N seats
// exactly N whatever the number of callers.
func (m *Meter) admit(source netip.Addr, kill func(), countIPs bool) (*lease, error) {
	limits := m.node.limits.Load()
	now := m.node.now()
	l := &lease{meter: m, kill: kill, addr: limits.fold(source), done: make(chan struct{})}

	p := m.person
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.retired.Load() {
		return nil, fmt.Errorf("%s: %w: %w", m.key, adapter.ErrRemoved, adapter.ErrLimited)
	}
	if m.connLimit > 0 && p.conns >= m.connLimit {
		return nil, fmt.Errorf("%s: %d of %d connections in use: %w", m.key, p.conns, m.connLimit, adapter.ErrLimited)
	}
	ipLimit := m.ipLimit
	if !countIPs {
		ipLimit = 0
	}
	if inUse, ok := p.addrs.admits(l.addr, ipLimit, p.afar, now, limits.IPExpiry); !ok {
		return nil, fmt.Errorf("%s: %d of %d IPs in use: %w", m.key, inUse, m.ipLimit, adapter.ErrLimited)
	}
	keep := max(maxAddrs, m.ipLimit)
	p.addrs.open(l.addr, keep, now, limits.IPExpiry)
	m.addrs.open(l.addr, keep, now, limits.IPExpiry)
	p.conns++
	m.held++
	l.seatLocked()
	return l, nil
}

// Kick closes every open connection of the meter by calling its kill, also of those asleep in Up or
// Down: they wake at once. Their seats and addresses are free for others when Kick returns. Without
// Retire before it, new connections are admitted again right away.
func (m *Meter) Kick() {
	if m == nil {
		return
	}
	p := m.person
	now := m.node.now()
	p.mu.Lock()
	kills := make([]func(), 0, m.seated)
	for l := m.first; l != nil; l = m.first {
		l.unseatLocked(now)
		if l.kill != nil {
			kills = append(kills, l.kill)
		}
	}
	p.mu.Unlock()
	for _, kill := range kills {
		kill()
	}
}

// SetLimits applies the account's speed, connection and IP limits and its name; negative limits are
// unlimited. Open connections feel a new speed at their next chunk, those asleep wake for it. A lower
// connection or IP limit refuses newcomers and leaves open connections alone.
func (m *Meter) SetLimits(a adapter.Account) {
	if m == nil {
		return
	}
	speed := max(a.SpeedBytes, 0)
	p := m.person
	p.mu.Lock()
	m.name, m.connLimit, m.ipLimit = a.Name, a.ConnLimit, a.IPLimit
	if speed > 0 && p.tuned != speed { // another node of the scope may have rescaled already
		now := m.node.now()
		p.up.rescale(now, p.tuned, speed)
		p.down.rescale(now, p.tuned, speed)
		p.tuned = speed
	}
	old := m.speed.Swap(speed)
	p.mu.Unlock()
	if old != speed {
		m.retuned.fire()
	}
}

// retire makes Open refuse from now on.
func (m *Meter) retire() {
	m.person.mu.Lock()
	m.retired.Store(true)
	m.person.mu.Unlock()
	m.retuned.fire() // those who wait in Open are refused now, not in 2 s
}

// drained tells whether nothing can come from a retired meter any more.
func (m *Meter) drained() bool {
	m.person.mu.Lock()
	held := m.held
	m.person.mu.Unlock()
	return held == 0 && m.up.Load() == 0 && m.down.Load() == 0
}

// paced tells whether a speed limit of the account or the node is on.
func (m *Meter) paced() bool {
	return m.speed.Load() > 0 || m.node.speed.Load() > 0
}

var _ adapter.DeviceMeter = (*Meter)(nil)
