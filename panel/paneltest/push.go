package paneltest

import (
	"context"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// pushPath is where the simulated XBoard has its WebSocket.
const pushPath = "/ws"

// EnablePush makes the handshake offer a WebSocket at base, the server's URL, on which changes are told.
func (p *Panel) EnablePush(base string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushAt = "ws" + base[len("http"):] + pushPath
}

// Watchers is how many nodes listen.
func (p *Panel) Watchers() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.watchers)
}

// Tell sends an event without data to every node that listens: "sync.users", "ping", ….
func (p *Panel) Tell(event string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.watchers {
		select {
		case w <- event:
		default: // slow: it polls
		}
	}
}

// Pongs is how many answers to a ping came.
func (p *Panel) Pongs() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pongs
}

// push serves one node's WebSocket.
func (p *Panel) push(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("token") != p.token {
		http.Error(w, "", http.StatusForbidden)
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	events := make(chan string, 16)
	events <- "auth.success"
	p.mu.Lock()
	p.watchers[events] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.watchers, events)
	}()
	ctx, cancel := context.WithCancel(r.Context())
	go func() {
		defer cancel()
		for {
			if _, _, err := conn.Read(ctx); err != nil {
				return
			}
			p.mu.Lock()
			p.pongs++
			p.mu.Unlock()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.closing:
			return
		case event := <-events:
			one, stop := context.WithTimeout(ctx, 5*time.Second)
			err := conn.Write(one, websocket.MessageText, []byte(`{"event":"`+event+`","data":[]}`))
			stop()
			if err != nil {
				return
			}
		}
	}
}
