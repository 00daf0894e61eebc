package paneltest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// pushPath is where the simulated XBoard has its WebSocket.
const pushPath = "/ws"

// watcher is who listens: one node, or one machine for all of its nodes.
type watcher struct{ machine, node int }

// EnablePush makes the handshake offer a WebSocket at base, the server's URL, on which changes are told.
func (p *Panel) EnablePush(base string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushAt = "ws" + base[len("http"):] + pushPath
}

// Watchers is how many nodes and machines listen.
func (p *Panel) Watchers() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.watchers)
}

// Tell sends an event without data to everybody who listens: "sync.users", "ping", ….
func (p *Panel) Tell(event string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.watchers {
		send(w, frame(event, nil))
	}
}

// TellNode sends an event about the node to who listens for it, with its number if that is a machine.
func (p *Panel) TellNode(id int, event string, data map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[id]
	for w, who := range p.watchers {
		switch {
		case who.node == id:
			send(w, frame(event, data))
		case who.machine > 0 && n != nil && n.row.Machine == who.machine:
			with := map[string]any{"node_id": id}
			for name, v := range data {
				with[name] = v
			}
			send(w, frame(event, with))
		}
	}
}

// TellNodes sends the machine the list of its nodes.
func (p *Panel) TellNodes(machine int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w, who := range p.watchers {
		if who.machine == machine {
			send(w, frame("sync.nodes", map[string]any{"nodes": p.rowsLocked(machine)}))
		}
	}
}

// HangUp ends the connections of all who listen.
func (p *Panel) HangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.watchers {
		close(w)
		delete(p.watchers, w)
	}
}

func frame(event string, data map[string]any) []byte {
	e := map[string]any{"event": event, "data": data, "timestamp": 1700000000}
	if len(data) == 0 {
		e["data"] = []int{} // PHP's empty map
	}
	return php(e)
}

func send(w chan []byte, frame []byte) {
	select {
	case w <- frame:
	default: // slow: it polls
	}
}

// Pongs is how many answers to a ping came.
func (p *Panel) Pongs() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pongs
}

// admit says who asks for a WebSocket, and what it is told first.
func (p *Panel) admit(r *http.Request) (who watcher, hello []byte, ok bool) {
	q := r.URL.Query()
	p.mu.Lock()
	defer p.mu.Unlock()
	if text := q.Get("machine_id"); text != "" {
		if _, no := p.asMachineLocked(text, q.Get("token"), "", true); no != nil {
			return who, nil, false
		}
		who.machine, _ = strconv.Atoi(text)
		ids := []int{}
		for _, row := range p.rowsLocked(who.machine) {
			ids = append(ids, row.ID)
		}
		return who, frame("auth.success", map[string]any{"machine_id": who.machine, "node_ids": ids}), true
	}
	who.node, _ = strconv.Atoi(q.Get("node_id"))
	return who, frame("auth.success", map[string]any{"node_id": who.node}), q.Get("token") == p.token
}

// push serves one WebSocket. Who may not have one is told so on it.
func (p *Panel) push(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	who, hello, ok := p.admit(r)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if !ok {
		p.write(ctx, conn, frame("error", map[string]any{"message": "invalid token"}))
		return
	}
	events := make(chan []byte, 64)
	events <- hello
	p.mu.Lock()
	p.watchers[events] = who
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.watchers, events)
	}()
	go p.listen(ctx, cancel, conn)
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.closing:
			return
		case event, open := <-events:
			if !open || p.write(ctx, conn, event) != nil {
				return
			}
		}
	}
}

// listen counts what the node says until it hangs up.
func (p *Panel) listen(ctx context.Context, end func(), conn *websocket.Conn) {
	defer end()
	for {
		_, raw, err := conn.Read(ctx)
		var e struct{ Event string }
		if err != nil || json.Unmarshal(raw, &e) != nil {
			return
		}
		p.mu.Lock()
		if e.Event == "pong" {
			p.pongs++
		}
		p.mu.Unlock()
	}
}

func (*Panel) write(ctx context.Context, conn *websocket.Conn, frame []byte) error {
	one, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	return conn.Write(one, websocket.MessageText, frame)
}
