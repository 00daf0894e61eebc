package muxcool

import (
	"context"
	"sync"
	"time"
)

const (
	// ExpireAfter is how long a session without a connection keeps its socket: Xray's minute.
	ExpireAfter = time.Minute
	// MaxSessions bounds a Registry. Beyond it sessions end with their connection.
	MaxSessions = 4096
)

// sessionKey names a client's socket. Without the user in it, one could take another's session over
// by guessing eight bytes.
type sessionKey struct {
	user any
	id   GlobalID
}

// Registry keeps the packet sessions of one inbound that a GlobalID names, and with them the sockets
// of their handlers: when the client comes back with another connection, the session goes on there.
// nil keeps nothing.
type Registry struct {
	wg sync.WaitGroup // handlers

	mu       sync.Mutex
	closed   bool
	sessions map[sessionKey]*packetConn
}

// NewRegistry returns an empty registry. Close it after the connections that use it.
func NewRegistry() *Registry { return &Registry{sessions: make(map[sessionKey]*packetConn)} }

// key returns the name of the session that f opens; zero when it has none.
func (s *server) key(f *Frame) sessionKey {
	if s.opt.Registry == nil || s.opt.User == nil || f.GlobalID == (GlobalID{}) {
		return sessionKey{}
	}
	return sessionKey{s.opt.User, f.GlobalID}
}

// attach moves the session with key to a place on s and returns it, or nil when there is none.
func (r *Registry) attach(key sessionKey, s *server, id uint16) *packetConn {
	if r == nil || key == (sessionKey{}) {
		return nil
	}
	r.mu.Lock()
	p := r.sessions[key]
	r.mu.Unlock()
	if p == nil || !p.attach(s, id) {
		return nil
	}
	return p
}

// attach moves the session, unless it is closed.
func (p *packetConn) attach(s *server, id uint16) bool {
	s.add(id, p)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		s.take(id)
		s.idle.Leave()
		return false
	}
	old := p.link
	p.link = newLink(s, id)
	if p.expiry != nil {
		p.expiry.Stop()
	}
	p.mu.Unlock()
	if old != nil {
		p.leave(old, false)
	}
	return true
}

// add takes p, which has its place on a connection, into the registry and runs its handler. It
// reports false when it does not: there is no key, no room, or the inbound is closing.
func (r *Registry) add(key sessionKey, p *packetConn, h Handler) bool {
	if r == nil || key == (sessionKey{}) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.sessions) >= MaxSessions {
		return false
	}
	l := p.link
	ctx, cancel := context.WithCancel(context.WithoutCancel(l.s.ctx))
	p.registry, p.key, p.cancel = r, key, cancel
	r.sessions[key] = p
	l.s.add(l.id, p)
	r.wg.Go(func() {
		defer p.Close()
		h.NewPacket(ctx, p, p.destination)
	})
	return true
}

// remove forgets p.
func (r *Registry) remove(p *packetConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions[p.key] == p {
		delete(r.sessions, p.key)
	}
}

// Len returns how many sessions there are, with and without a connection.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}

// Close ends all sessions and waits for their handlers. It comes after the connections were closed.
func (r *Registry) Close() error {
	r.mu.Lock()
	r.closed = true
	sessions := make([]*packetConn, 0, len(r.sessions))
	for _, p := range r.sessions {
		sessions = append(sessions, p)
	}
	r.mu.Unlock()
	for _, p := range sessions {
		_ = p.Close()
	}
	r.wg.Wait()
	return nil
}

// detach takes the session off s, where it was ended or which is gone. A session in the registry then
// waits for another connection; any other ends with err.
func (p *packetConn) detach(s *server, err error) {
	p.mu.Lock()
	l := p.link
	if l == nil || l.s != s { // closed, or on another connection already
		p.mu.Unlock()
		return
	}
	p.link = nil
	switch {
	case p.registry == nil:
		p.Finish(err)
	case p.expiry == nil:
		p.expiry = time.AfterFunc(ExpireAfter, func() { p.close(true) })
	default:
		p.expiry.Reset(ExpireAfter)
	}
	p.mu.Unlock()
	p.leave(l, false)
}
