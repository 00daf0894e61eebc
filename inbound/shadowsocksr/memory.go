package shadowsocksr

import (
	"maps"
	"sync"
	"time"

	"heki/inbound/internal/match"
	"heki/internal/protocol/ssr"
	"heki/internal/protocol/ssr/protocol"
)

// Memory is what the ShadowsocksR inbounds of a process know together of what they have served. It
// outlives them and their ports: whoever has recorded a connection must not be served because settings
// or users changed in between.
type Memory struct {
	hellos *match.Filter // randoms of TLS hellos

	mu    sync.RWMutex
	users map[seat]*ssr.Clients
	limit int // so many users ask who can be forgotten
}

// seat is a user of a port.
type seat struct {
	inbound string
	port    uint16
	user    int64
}

const (
	// remember is how long a recording may be of use: a client may be a day ahead when it connects, and
	// is served until it is a day behind. The reference remembers hellos for 5 minutes, and connections
	// of auth_chain for as long as the client has one open (ssr.md §9).
	remember = 2 * ssr.Skew
	// helloSize is what is held of hellos in each half: 24 MiB at most, and 5 minutes at 3500 a second.
	helloSize = 1 << 20
	// seats may be taken before anybody is forgotten.
	seats = 1024
)

// NewMemory returns an empty one.
func NewMemory() *Memory {
	return &Memory{hellos: match.NewFilter(remember, helloSize), users: make(map[seat]*ssr.Clients), limit: seats}
}

// admit admits a connection of the user at at, or says why not.
func (m *Memory) admit(at seat, h *protocol.Head, now time.Time, l ssr.Limits) (*ssr.Visit, error) {
	m.mu.RLock()
	if c := m.users[at]; c != nil {
		defer m.mu.RUnlock() // nobody forgets c before it has a visitor
		return c.Admit(h.ClientID, h.ConnID, now, l)
	}
	m.mu.RUnlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.users[at]
	if c == nil {
		m.forgetLocked(now)
		c = new(ssr.Clients)
		m.users[at] = c
	}
	return c.Admit(h.ClientID, h.ConnID, now, l)
}

// forgetLocked forgets users whose connections are all too old to be replayed, when there are many.
func (m *Memory) forgetLocked(now time.Time) {
	if len(m.users) < m.limit {
		return
	}
	maps.DeleteFunc(m.users, func(_ seat, c *ssr.Clients) bool { return c.Silent(now.Add(-remember)) })
	m.limit = max(2*len(m.users), seats)
}
