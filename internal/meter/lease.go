package meter

import (
	"net/netip"
	"time"

	"heki/adapter"
)

// lease is one admitted connection.
type lease struct {
	meter *Meter
	kill  func()
	addr  netip.Addr    // as the limits count it
	done  chan struct{} // closed when the lease is closed or killed

	upTimer   *time.Timer // made by the first nap; belongs to the goroutine that calls Up
	downTimer *time.Timer // likewise Down

	// Guarded by meter.person.mu.
	prev, next *lease
	seated     bool // counts against the limits and is known to Kick
	closed     bool
}

// Up counts n bytes towards the remote and sleeps what the speed limits ask for them. n below 1 is ignored.
func (l *lease) Up(n int64) {
	if n <= 0 {
		return
	}
	m := l.meter
	m.up.Add(n)
	if m.paced() {
		l.pace(&m.person.up, &m.node.up, &l.upTimer, n)
	}
}

// Down counts n bytes towards the client and sleeps what the speed limits ask for them. n below 1 is ignored.
func (l *lease) Down(n int64) {
	if n <= 0 {
		return
	}
	m := l.meter
	m.down.Add(n)
	if m.paced() {
		l.pace(&m.person.down, &m.node.down, &l.downTimer, n)
	}
}

// pace charges n bytes to the user's and the node's bucket and sleeps the longer of the two waits.
// A sleeper woken by new limits goes on: its bytes are already charged, so the next chunk pays.
func (l *lease) pace(user, node *bucket, timer **time.Timer, n int64) {
	m := l.meter
	retuned, nodeRetuned := m.retuned.wait(), m.node.retuned.wait()
	now := m.node.now()
	wait := max(user.take(now, n, m.speed.Load()), node.take(now, n, m.node.speed.Load()))
	if wait < minSleep {
		return
	}
	if *timer == nil {
		*timer = time.NewTimer(time.Duration(wait))
	} else {
		(*timer).Reset(time.Duration(wait))
	}
	select {
	case <-(*timer).C:
		return
	case <-l.done:
	case <-retuned:
	case <-nodeRetuned:
	}
	(*timer).Stop()
}

// Paced says whether the account or its node has a speed limit now.
func (l *lease) Paced() bool {
	return l.meter.paced()
}

// Close gives the seat back and wakes Up and Down. It may be called more than once and after a kill.
// Call it when nothing will be counted any more.
func (l *lease) Close() {
	m := l.meter
	now := m.node.now()
	m.person.mu.Lock()
	defer m.person.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	m.held--
	l.unseatLocked(now)
}

// seatLocked puts the lease into its meter's list.
func (l *lease) seatLocked() {
	m := l.meter
	l.seated = true
	l.next = m.first
	if l.next != nil {
		l.next.prev = l
	}
	m.first = l
	m.seated++
	m.node.conns.Add(1)
	m.node.opened.Add(1)
}

// unseatLocked takes the lease out of its meter's list, frees what it counted for and wakes its sleepers.
func (l *lease) unseatLocked(now int64) {
	if !l.seated {
		return
	}
	m := l.meter
	l.seated = false
	if l.prev != nil {
		l.prev.next = l.next
	} else {
		m.first = l.next
	}
	if l.next != nil {
		l.next.prev = l.prev
	}
	l.prev, l.next = nil, nil
	m.seated--
	m.person.conns--
	m.person.addrs.close(l.addr, now)
	m.addrs.close(l.addr, now)
	m.node.conns.Add(-1)
	close(l.done)
}

var _ adapter.Lease = (*lease)(nil)
