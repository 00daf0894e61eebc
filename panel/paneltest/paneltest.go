// Package paneltest is a panel that lives in the process: an XBoard with its node API of version 1 and 2,
// a v2board, a xiaov2board, an SSPanel or a PPanel. It answers as the real one does down to status codes, validators and error
// bodies, keeps books of what nodes report, and fails on demand.
//
// It serves tests and "heki demo". It shares no code with the client it is there to test, and needs
// nothing but the standard library.
package paneltest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Panel is a simulated panel. Its methods are safe for concurrent use.
type Panel struct {
	token   string
	dialect dialect
	now     func() time.Time

	mu       sync.Mutex
	noV2     bool
	gzip     bool
	nodes    map[int]*node
	users    map[int]User
	usersGen int
	faults   map[Call][]*pendingFault
	requests map[Call]int
	fresh    map[Call]int // answers of 304
	refused  string       // a type that is unknown
	pushes   []Push
	rules    []Rule
	hits     []Hit
	pushAt   string // "": no WebSocket
	watchers map[chan []byte]watcher
	pongs    int
	loads    map[int]int // reports of the machine's state by node
	noReport bool        // a panel without merged reports
	common   Common      // PPanel

	machines      map[int]Machine
	machineStatus map[int]MachineStatus

	closing chan struct{} // closed: requests that hang end
	closed  bool
}

type node struct {
	row     Node
	raw     string // answers config instead of row when set
	traffic map[int]Traffic
	alive   map[int]aliveSet
	checked time.Time // last GET user
	pushed  time.Time
	conns   map[int]int // open connections by user
	metrics map[string]any
	body    []byte // users answer of generation gen
	gen     int
}

type aliveSet struct {
	ips []string
	at  time.Time
}

// aliveTTL is how long the panel counts an address after it was reported.
const aliveTTL = 300 * time.Second

// New returns an empty XBoard that takes token.
func New(token string) *Panel { return speaking(xboard{}, token) }

// NewV2board returns an empty v2board 1.7 that takes token. A node's number there is its Code, which more
// than one node may have if their protocols differ; without a Code it is the ID.
func NewV2board(token string) *Panel { return speaking(v2board{}, token) }

// NewXiaoV2board returns an empty xiaov2board that takes token. It knows nodes by type as v2board does,
// and those that ask as version 2 by their ID.
func NewXiaoV2board(token string) *Panel { return speaking(v2board{xiao: true}, token) }

// NewSSPanel returns an empty SSPanel-UIM that takes key, the one of today or, legacy, the one of 2021.
func NewSSPanel(key string, legacy bool) *Panel { return speaking(sspanel{legacy}, key) }

func speaking(d dialect, token string) *Panel {
	return &Panel{
		token:    token,
		dialect:  d,
		now:      time.Now,
		nodes:    make(map[int]*node),
		users:    make(map[int]User),
		faults:   make(map[Call][]*pendingFault),
		requests: make(map[Call]int),
		fresh:    make(map[Call]int),
		loads:    make(map[int]int),
		watchers: make(map[chan []byte]watcher),
		closing:  make(chan struct{}),
	}
}

// Token is the server token nodes must show.
func (p *Panel) Token() string { return p.token }

// DisableV2 makes the panel older than March 2026: /api/v2 is not there.
func (p *Panel) DisableV2() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noV2 = true
}

// RefuseType makes the panel so old that it does not know that node_type.
func (p *Panel) RefuseType(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = name
}

// EnableGzip puts a packing proxy in front, which makes ETags weak.
func (p *Panel) EnableGzip() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gzip = true
}

// SetNode adds the node or changes its settings. Its books stay.
func (p *Panel) SetNode(row Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodeLocked(row.ID)
	n.row, n.raw = row, ""
}

// SetRawConfig makes the node's config answer exactly body, until SetNode.
func (p *Panel) SetRawConfig(id int, body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodeLocked(id)
	n.row.ID, n.raw = id, body
}

func (p *Panel) nodeLocked(id int) *node {
	n := p.nodes[id]
	if n == nil {
		n = &node{traffic: make(map[int]Traffic), alive: make(map[int]aliveSet), gen: -1}
		p.nodes[id] = n
	}
	return n
}

// RemoveNode deletes the node; its books go with it.
func (p *Panel) RemoveNode(id int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.nodes, id)
}

// SetUser adds the user or replaces the row with the same id, and returns the row: an id of 0 is
// given out, an empty UUID made up.
func (p *Panel) SetUser(u User) User {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u.ID == 0 {
		for id := range p.users {
			u.ID = max(u.ID, id)
		}
		u.ID++
	}
	if u.UUID == "" {
		u.UUID = NewUUID()
	}
	if u.Password == "" {
		u.Password = "pw" + u.UUID[:8]
	}
	p.users[u.ID] = u
	p.usersGen++
	return u
}

// SetUsers replaces the whole table.
func (p *Panel) SetUsers(users []User) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.users)
	for _, u := range users {
		p.users[u.ID] = u
	}
	p.usersGen++
}

// RemoveUser deletes the user's row.
func (p *Panel) RemoveUser(id int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.users, id)
	p.usersGen++
}

// Rekey gives the user a new UUID and returns it, or "" when there is no such user.
func (p *Panel) Rekey(id int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, ok := p.users[id]
	if !ok {
		return ""
	}
	u.UUID = NewUUID()
	p.users[id] = u
	p.usersGen++
	return u.UUID
}

// Users returns the table by id.
func (p *Panel) Users() []User {
	p.mu.Lock()
	defer p.mu.Unlock()
	users := make([]User, 0, len(p.users))
	for _, id := range slices.Sorted(maps.Keys(p.users)) {
		users = append(users, p.users[id])
	}
	return users
}

// Nodes returns the rows by id.
func (p *Panel) Nodes() []Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	rows := make([]Node, 0, len(p.nodes))
	for _, id := range slices.Sorted(maps.Keys(p.nodes)) {
		rows = append(rows, p.nodes[id].row)
	}
	return rows
}

// Traffic returns the sum of what the node reported of the user.
func (p *Panel) Traffic(nodeID, userID int) Traffic {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.nodes[nodeID]; n != nil {
		return n.traffic[userID]
	}
	return Traffic{}
}

// TrafficOf returns the node's sums by user.
func (p *Panel) TrafficOf(nodeID int) map[int]Traffic {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.nodes[nodeID]; n != nil {
		return maps.Clone(n.traffic)
	}
	return nil
}

// Total returns the sum over all nodes and users.
func (p *Panel) Total() Traffic {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sum Traffic
	for _, n := range p.nodes {
		for _, t := range n.traffic {
			sum.Up += t.Up
			sum.Down += t.Down
		}
	}
	return sum
}

// SetRules sets SSPanel's detection rules.
func (p *Panel) SetRules(rules []Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = rules
}

// Hits returns what nodes reported of the rules.
func (p *Panel) Hits() []Hit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.hits)
}

// Loads returns how often the node told how its machine does.
func (p *Panel) Loads(nodeID int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.loads[nodeID]
}

// Pushes returns the traffic reports booked so far, oldest first.
func (p *Panel) Pushes() []Push {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.pushes)
}

// Alive returns the addresses that the node last reported of the user and that still count.
func (p *Panel) Alive(nodeID, userID int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[nodeID]
	if n == nil || p.now().Sub(n.alive[userID].at) > aliveTTL {
		return nil
	}
	return slices.Clone(n.alive[userID].ips)
}

// Checked is when the node last fetched its users; zero is never.
func (p *Panel) Checked(nodeID int) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.nodes[nodeID]; n != nil {
		return n.checked
	}
	return time.Time{}
}

// NotModified returns how often call was answered with 304.
func (p *Panel) NotModified(call Call) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fresh[call]
}

// Requests returns how often call was made, failed ones included; Any is all calls.
func (p *Panel) Requests(call Call) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if call != Any {
		return p.requests[call]
	}
	sum := 0
	for _, n := range p.requests {
		sum += n
	}
	return sum
}

// Close ends requests that hang. The panel answers no more.
func (p *Panel) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.closing)
	}
}

// findLocked resolves node_id as the panel does: by code first, then by id; kind narrows codes and ids
// to a protocol (version 1 with node_type).
func (p *Panel) findLocked(text, kind string) *node {
	for _, id := range slices.Sorted(maps.Keys(p.nodes)) {
		n := p.nodes[id]
		if n.row.Code == text && text != "" && (kind == "" || n.row.Protocol == kind) {
			return n
		}
	}
	id, err := strconv.Atoi(text)
	if n := p.nodes[id]; err == nil && n != nil && (kind == "" || n.raw != "" || n.row.Protocol == kind) {
		return n
	}
	return nil
}

// NewUUID returns a random UUID.
func NewUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// php encodes v as PHP's json_encode does: slashes escaped, everything beyond ASCII as \uXXXX.
func php(v any) []byte {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // our own structs
	}
	text := strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "/", `\/`)
	var out []byte
	for _, r := range text {
		switch {
		case r < 0x80:
			out = append(out, byte(r))
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}
