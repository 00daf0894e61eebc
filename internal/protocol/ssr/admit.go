package ssr

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of admission.
var (
	// ErrTime says that a client's clock is off by more than Skew.
	ErrTime = errors.New("clock is off")
	// ErrReplay says that a connection was seen before.
	ErrReplay = errors.New("connection seen before")
	// ErrDevices says that the user has as many clients as allowed.
	ErrDevices = errors.New("too many clients")
)

// Skew is how far a client's clock may be off.
const Skew = 24 * time.Hour

const (
	// maxClients bounds the clients of one user that may be active at once.
	maxClients = 1024
	// keepClients is how many clients of a user are remembered at least, for replays, beyond those that
	// may be active.
	keepClients = 64
	// slots is how many numbers of connections a client's window has; a jump beyond jumpMost is refused.
	slots    = 0x1000
	jumpMost = 0x4000
	// before is how many numbers below the first one that is seen a window begins.
	before = 64
)

// CheckTime refuses clients whose clock is off.
func CheckTime(utc uint32, now time.Time) error {
	off := time.Duration(int32(utc-uint32(now.Unix()))) * time.Second
	if off > Skew || off < -Skew {
		return fmt.Errorf("%w by %s", ErrTime, off)
	}
	return nil
}

// Clients remembers the clients of one user by their random numbers: how many are active, and which
// connections they have made (ssr.md §9). Unlike the reference it does not forget a client's
// connections when the last of them is closed, which let each of them be replayed. It is for any number
// of goroutines; the zero value is ready.
type Clients struct {
	mu  sync.Mutex
	all map[uint32]*client
}

// client is one client process.
type client struct {
	front uint32 // number that the window begins with
	seen  [slots / 64]uint64
	open  int
	at    atomic.Int64 // last activity, in nanoseconds of unix time
}

// Limits say who is active.
type Limits struct {
	Clients int           // active at once; 0 is 1024
	Silence time.Duration // a client is active so long after its last byte
	Linger  bool          // also when it has no connection open
}

// Admit admits connection conn of client id at now, or says why not. Leave ends it.
func (c *Clients) Admit(id, conn uint32, now time.Time, l Limits) (*Visit, error) {
	if l.Clients <= 0 || l.Clients > maxClients {
		l.Clients = maxClients
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.all[id]
	if (k == nil || !k.active(now, l)) && c.activeLocked(now, l) >= l.Clients {
		return nil, fmt.Errorf("%w: %d", ErrDevices, l.Clients)
	}
	if k == nil {
		k = c.addLocked(id, conn, l.Clients+keepClients)
	}
	if err := k.visit(conn, k.open == 0); err != nil {
		return nil, err
	}
	k.open++
	k.at.Store(now.UnixNano())
	return &Visit{owner: c, client: k}, nil
}

// active says whether k counts.
func (k *client) active(now time.Time, l Limits) bool {
	return (k.open > 0 || l.Linger) && now.UnixNano()-k.at.Load() < int64(l.Silence)
}

func (c *Clients) activeLocked(now time.Time, l Limits) (n int) {
	for _, k := range c.all {
		if k.active(now, l) {
			n++
		}
	}
	return n
}

// addLocked makes a client whose window begins a little before conn. Of keep that there may be, the one
// that was silent longest makes room.
func (c *Clients) addLocked(id, conn uint32, keep int) *client {
	if c.all == nil {
		c.all = make(map[uint32]*client)
	}
	if len(c.all) >= keep {
		var oldest uint32
		var since int64
		for id, k := range c.all {
			if at := k.at.Load(); since == 0 || at < since {
				oldest, since = id, at
			}
		}
		delete(c.all, oldest)
	}
	k := &client{front: conn - before}
	c.all[id] = k
	return k
}

// visit notes connection number conn. Numbers wrap. A client without connections may jump as far ahead
// as it likes, as after hours with another server.
func (k *client) visit(conn uint32, jump bool) error {
	at := conn - k.front
	switch {
	case int32(at) < 0:
		return fmt.Errorf("%w: number %d is too old", ErrReplay, conn)
	case at > jumpMost && !jump:
		return fmt.Errorf("%w: number %d is too far ahead", ErrReplay, conn)
	}
	if at >= slots { // move on, so that conn is the last
		k.slide(conn - slots + 1)
	}
	slot := conn % slots
	if k.seen[slot/64]>>(slot%64)&1 != 0 {
		return fmt.Errorf("%w: number %d", ErrReplay, conn)
	}
	k.seen[slot/64] |= 1 << (slot % 64)
	return nil
}

// slide moves the window to begin with front.
func (k *client) slide(front uint32) {
	if front-k.front >= slots {
		clear(k.seen[:])
		k.front = front
		return
	}
	for ; k.front != front; k.front++ {
		slot := k.front % slots
		k.seen[slot/64] &^= 1 << (slot % 64)
	}
}

// Visit is an admitted connection.
type Visit struct {
	owner  *Clients
	client *client
	once   sync.Once
}

// Touch notes that the client said something at now. It takes no lock.
func (v *Visit) Touch(now time.Time) { v.client.at.Store(now.UnixNano()) }

// Leave ends the connection. Only the first call counts.
func (v *Visit) Leave() {
	v.once.Do(func() {
		v.owner.mu.Lock()
		defer v.owner.mu.Unlock()
		v.client.open--
	})
}

// Silent says that nobody has a connection and nobody said anything since then.
func (c *Clients) Silent(since time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.all {
		if k.open > 0 || k.at.Load() >= since.UnixNano() {
			return false
		}
	}
	return true
}

// Active counts the clients that are active at now.
func (c *Clients) Active(now time.Time, l Limits) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.activeLocked(now, l)
}
