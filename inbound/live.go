package inbound

import (
	"sync"

	"heki/adapter"
)

// Live knows the connections of users that outlive a single stream. A swap of users ends those of users
// who are gone, although no stream with a lease that could be cut may be open. The zero value is ready.
type Live[K comparable] struct {
	mu    sync.Mutex
	conns map[*liveConn[K]]struct{}
}

// liveConn is one connection.
type liveConn[K comparable] struct {
	key  K
	user *adapter.User
	end  func()
}

// Enter notes a connection of user, who was found under key. end must not block; it is called when the
// user is gone, at once when that is so already. Call leave when the connection is over.
func (l *Live[K]) Enter(users *Table[K], key K, user *adapter.User, end func()) (leave func()) {
	c := &liveConn[K]{key, user, end}
	l.mu.Lock()
	if l.conns == nil {
		l.conns = make(map[*liveConn[K]]struct{})
	}
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	if !users.has(key, user) { // swapped since it was looked up
		end()
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, c)
	}
}

// Sweep ends the connections of those who are not in users any more. Call it after a swap.
func (l *Live[K]) Sweep(users *Table[K]) {
	l.mu.Lock()
	var gone []*liveConn[K]
	for c := range l.conns {
		if !users.has(c.key, c.user) {
			gone = append(gone, c)
		}
	}
	l.mu.Unlock()
	for _, c := range gone {
		c.end()
	}
}

// has reports whether key still finds the account that user was. A change of limits or of the name
// publishes a new User.
func (t *Table[K]) has(key K, user *adapter.User) bool {
	now, ok := t.Lookup(key)
	return ok && now.ID == user.ID
}
