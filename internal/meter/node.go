package meter

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"heki/adapter"
)

// Limits of one node, after merging config and panel.
type Limits struct {
	NodeSpeedBytes int64         // bytes per second each way for all users together; 0 is unlimited
	IPExpiry       time.Duration // how long an address counts after its last connection; 0 is not at all
	CIDRv4, CIDRv6 int           // addresses of one prefix of this length count as one; 0 is the whole address
}

// Node holds the books of one node. Its methods are safe for concurrent use.
type Node struct {
	up, down bucket // the node's own speed limit

	tag     string
	epoch   time.Time
	speed   atomic.Int64 // of limits, for the data path
	limits  atomic.Pointer[Limits]
	retuned broadcast    // speed changed: sleepers look again
	conns   atomic.Int64 // seated leases
	opened  atomic.Int64 // leases ever seated

	mu     sync.Mutex
	scope  *scope
	meters map[userKey]*Meter // the newest meter of each user; older ones hang on it
	closed bool
	taken  Traffic // bytes ever taken, less those restored
}

func newNode(tag string, epoch time.Time) *Node {
	n := &Node{tag: tag, epoch: epoch, meters: make(map[userKey]*Meter)}
	n.limits.Store(new(Limits))
	return n
}

// Tag returns the node's name.
func (n *Node) Tag() string { return n.tag }

// now is the time in nanoseconds since the ledger was made, monotonic.
func (n *Node) now() int64 { return int64(time.Since(n.epoch)) }

func (n *Node) reopen(s *scope) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.scope, n.closed = s, false
}

// SetLimits replaces the node's limits. Open connections feel a new speed at their next chunk; a new
// prefix length or expiry holds for connections opened from now on.
func (n *Node) SetLimits(l Limits) {
	l.NodeSpeedBytes = max(l.NodeSpeedBytes, 0)
	n.mu.Lock()
	old := n.speed.Load()
	now := n.now()
	n.up.rescale(now, old, l.NodeSpeedBytes)
	n.down.rescale(now, old, l.NodeSpeedBytes)
	n.limits.Store(&l)
	n.speed.Store(l.NodeSpeedBytes)
	n.mu.Unlock()
	if old != l.NodeSpeedBytes {
		n.retuned.fire()
	}
}

// Meter returns the meter of a's user, made on first use and after the former one was retired, and
// sets its limits from a. On a closed node it comes out retired.
func (n *Node) Meter(a adapter.Account) *Meter {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m := n.liveLocked(keyOf(a.ID, a.Name)); m != nil {
		m.SetLimits(a)
		return m
	}
	return n.addLocked(a)
}

// Renew makes a fresh meter for a user whose credential changed. old is the meter in use so far, nil
// if there was none; both count for the same user. The caller publishes fresh, then retires and kicks
// old; if it cannot publish, it retires fresh, and Meter returns old again.
func (n *Node) Renew(a adapter.Account) (old, fresh *Meter) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.liveLocked(keyOf(a.ID, a.Name)), n.addLocked(a)
}

// liveLocked returns the newest meter of a user that is not retired, or nil.
func (n *Node) liveLocked(key userKey) *Meter {
	for m := n.meters[key]; m != nil; m = m.older {
		if !m.retired.Load() {
			return m
		}
	}
	return nil
}

func (n *Node) addLocked(a adapter.Account) *Meter {
	key := keyOf(a.ID, a.Name)
	m := &Meter{node: n, key: key, person: n.scope.join(key), older: n.meters[key]}
	m.SetLimits(a)
	m.retired.Store(n.closed)
	n.meters[key] = m
	return m
}

// Retire makes m refuse new connections from now on, those waiting in Open included. Open ones go on
// and are counted until they close; Kick ends them. Retire the meter first, else a handshake in flight
// slips through. m may be nil.
func (n *Node) Retire(m *Meter) {
	if m != nil {
		m.retire()
	}
}

// Forget drops the retired meters that are drained: every lease closed and every byte taken.
func (n *Node) Forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, head := range n.meters {
		if head.older == nil && !head.retired.Load() {
			continue
		}
		if kept := prune(head); kept == nil {
			delete(n.meters, key)
		} else {
			n.meters[key] = kept
		}
	}
}

// prune returns the user's meters without those that are retired and drained. The caller holds node.mu.
func prune(head *Meter) *Meter {
	link := &head
	for m := head; m != nil; m = m.older {
		if m.retired.Load() && m.drained() {
			*link = m.older
			m.person.leave(m.key)
		} else {
			link = &m.older
		}
	}
	return head
}

// Close retires and kicks every meter: the node was removed. Take still works, and must be used for
// the last report.
func (n *Node) Close() {
	n.mu.Lock()
	n.closed = true
	all := make([]*Meter, 0, len(n.meters))
	for _, m := range n.meters {
		for ; m != nil; m = m.older {
			all = append(all, m)
		}
	}
	n.mu.Unlock()
	for _, m := range all {
		m.retire()
		m.Kick()
	}
}

// Online is one user with the addresses it is connected from.
type Online struct {
	ID    int64
	Name  string
	IPs   []netip.Addr // folded by the CIDR limits, each once, in no order
	Conns int          // open connections
	Bytes int64        // both ways since the last call of Node.Online, for report thresholds
}

// Online returns the users who are connected or whose addresses have not expired: exactly what counts
// against their IP limits on this node. A user who was removed is left out once its connections are closed.
func (n *Node) Online() []Online {
	expiry := n.limits.Load().IPExpiry
	now := n.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	var online []Online
	for key, head := range n.meters {
		o := Online{ID: key.id}
		live := false
		for m := head; m != nil; m = m.older {
			live = live || !m.retired.Load()
			m.report(&o, now, expiry)
		}
		if o.Conns > 0 || live && len(o.IPs) > 0 {
			online = append(online, o)
		}
	}
	return online
}

// SetElsewhere tells how many addresses each user has over all nodes of the panel, this process's
// included, by user id; users who are left out have none. What is not this process's counts against the IP
// limit of a new address until the next call. Connections that are open stay.
func (n *Node) SetElsewhere(all map[int64]int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, m := range n.meters {
		p := m.person
		p.mu.Lock()
		p.afar = max(0, all[key.id]-len(p.addrs))
		p.mu.Unlock()
	}
}

// report adds the meter's part to o. The caller holds node.mu.
func (m *Meter) report(o *Online, now int64, expiry time.Duration) {
	counted := m.taken + m.up.Load() + m.down.Load()
	o.Bytes += counted - m.told
	m.told = counted

	p := m.person
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.Name == "" {
		o.Name = m.name
	}
	o.Conns += m.seated
	if m.addrs == nil {
		return
	}
	p.addrs.sweep(now, expiry)
	m.addrs.sweep(now, expiry)
	if len(p.addrs) == 0 { // a map keeps its buckets; users come and go, so let them go too
		p.addrs = nil
	}
	if len(m.addrs) == 0 {
		m.addrs = nil
	}
	others := o.IPs // of the user's other credentials
	for addr := range m.addrs {
		if !slices.Contains(others, addr) {
			o.IPs = append(o.IPs, addr)
		}
	}
}
