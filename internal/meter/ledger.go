package meter

import (
	"sync"
	"time"
)

// Ledger holds the books of all nodes of the process. Its methods are safe for concurrent use.
type Ledger struct {
	epoch time.Time // all bucket times count from here, on the monotonic clock

	mu     sync.Mutex
	nodes  map[string]*Node
	scopes map[string]*scope
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{epoch: time.Now(), nodes: make(map[string]*Node), scopes: make(map[string]*scope)}
}

// Node returns the books of the node called tag, made on first use. Nodes with the same scope, the
// panel's name, share their users' speed, connection and IP limits. A closed node is opened again; what
// its former users still owe is taken with the rest. The scope given last is that of new meters.
func (l *Ledger) Node(tag, scope string) *Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.scopes[scope]
	if s == nil {
		s = newScope()
		l.scopes[scope] = s
	}
	n := l.nodes[tag]
	if n == nil {
		n = newNode(tag, l.epoch)
		l.nodes[tag] = n
	}
	n.reopen(s)
	return n
}

// scope is the people that several nodes know together.
type scope struct {
	mu     sync.Mutex
	people map[userKey]*person
}

func newScope() *scope {
	return &scope{people: make(map[userKey]*person)}
}

// join returns the person of key and counts one more meter on it.
func (s *scope) join(key userKey) *person {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.people[key]
	if p == nil {
		p = &person{scope: s}
		s.people[key] = p
	}
	p.refs++
	return p
}

// leave counts one meter less and forgets the person with the last.
func (p *person) leave(key userKey) {
	s := p.scope
	s.mu.Lock()
	defer s.mu.Unlock()
	p.refs--
	if p.refs == 0 {
		delete(s.people, key)
	}
}
