package paneltest

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Call names one kind of request.
type Call string

// The calls of the node API.
const (
	Any       Call = "*" // in Fail: whichever comes
	Config    Call = "config"
	Users     Call = "user"
	PushCall  Call = "push"
	AliveCall Call = "alive"
	AliveList Call = "alivelist"
	Status    Call = "status"
	Report    Call = "report"
	Handshake Call = "handshake"

	MachineNodes      Call = "machine/nodes"
	MachineStatusCall Call = "machine/status"
)

// Fault is one way to fail. The zero value is no fault. Its text names it in test output.
type Fault struct {
	name  string
	apply bool // the request is acted on before the failure
	do    func(p *Panel, w http.ResponseWriter, r *http.Request, a *answer)
}

func (f Fault) String() string { return f.name }

// Applied tells whether a report that met f was booked all the same.
func (f Fault) Applied() bool { return f.apply }

// Reset cuts the connection with a RST; apply says whether the request was acted on before.
func Reset(apply bool) Fault {
	return Fault{fmt.Sprintf("reset(applied=%t)", apply), apply, func(_ *Panel, w http.ResponseWriter, _ *http.Request, _ *answer) {
		if conn, ok := hijack(w); ok {
			if tcp, ok := conn.(*net.TCPConn); ok {
				tcp.SetLinger(0)
			}
			conn.Close()
		}
	}}
}

// Hang gives no answer until the node gives up; apply says whether the request was acted on before.
func Hang(apply bool) Fault {
	return Fault{fmt.Sprintf("hang(applied=%t)", apply), apply, func(p *Panel, w http.ResponseWriter, r *http.Request, _ *answer) {
		select {
		case <-r.Context().Done():
		case <-p.closing:
		}
		panic(http.ErrAbortHandler)
	}}
}

// BadGateway is nginx without a PHP behind it.
func BadGateway() Fault {
	return Fault{"502", false, func(_ *Panel, w http.ResponseWriter, _ *http.Request, _ *answer) {
		html(w, http.StatusBadGateway, "502 Bad Gateway")
	}}
}

// ServerError is PHP failing; apply says whether it had committed before.
func ServerError(apply bool) Fault {
	return Fault{fmt.Sprintf("500(applied=%t)", apply), apply, func(_ *Panel, w http.ResponseWriter, _ *http.Request, _ *answer) {
		sendJSON(w, http.StatusInternalServerError, []byte(uhOh))
	}}
}

// uhOh is the only pretty-printed answer, as Laravel's exception renderer writes it.
const uhOh = "{\n    \"message\": \"Uh-oh, we've had some problems, we're working on it.\"\n}"

// CutBody promises the whole answer and sends half of it.
func CutBody() Fault {
	return Fault{"cut body", true, func(_ *Panel, w http.ResponseWriter, _ *http.Request, a *answer) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(max(len(a.body), 2)))
		w.WriteHeader(a.status)
		w.Write(a.body[:len(a.body)/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}}
}

// Garbage answers 200 with something that is no JSON; the request was acted on.
func Garbage() Fault {
	return Fault{"garbage", true, func(_ *Panel, w http.ResponseWriter, _ *http.Request, _ *answer) {
		sendJSON(w, http.StatusOK, []byte("<br />\n<b>Warning</b>: Undefined array key in <b>x.php</b>{\"da"))
	}}
}

// EmptyUsers answers a user request with nobody; other calls are served.
func EmptyUsers() Fault {
	return Fault{"empty users", true, func(_ *Panel, w http.ResponseWriter, _ *http.Request, a *answer) {
		if a.call == Users {
			a = &answer{call: Users, status: http.StatusOK, body: []byte(`{"users":[]}`)}
			a.etag = etagOf(a.body)
		}
		a.send(w)
	}}
}

// TooMany answers 429 with Retry-After.
func TooMany(retryAfter time.Duration) Fault {
	return Fault{"429", false, func(_ *Panel, w http.ResponseWriter, _ *http.Request, _ *answer) {
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
		sendJSON(w, http.StatusTooManyRequests, []byte(`{"message":"Too Many Attempts."}`))
	}}
}

// Failure answers 200 with a body that says fail.
func Failure() Fault {
	return Fault{"fail body", false, func(_ *Panel, w http.ResponseWriter, _ *http.Request, _ *answer) {
		sendJSON(w, http.StatusOK, php(envelope{Status: "fail", Message: "Server is busy"}))
	}}
}

// OldShape is Laravel's validation that wants other members; nothing was done.
func OldShape() Fault {
	return Fault{"422", false, func(_ *Panel, w http.ResponseWriter, _ *http.Request, _ *answer) {
		a := invalid("data", "The data field is required.")
		sendJSON(w, a.status, a.body)
	}}
}

// NoNodes answers a machine's question for its nodes with none; other calls are served.
func NoNodes() Fault {
	return Fault{"no nodes", true, func(_ *Panel, w http.ResponseWriter, _ *http.Request, a *answer) {
		if a.call == MachineNodes {
			a = plain(map[string]any{"nodes": []int{}, "base_config": baseConfig{Push: 60, Pull: 60}})
		}
		a.send(w)
	}}
}

// Forbidden is a firewall that takes the node for a robot.
func Forbidden() Fault {
	return Fault{"403", false, func(_ *Panel, w http.ResponseWriter, _ *http.Request, _ *answer) {
		html(w, http.StatusForbidden, "403 Forbidden")
	}}
}

// NotModified answers 304 whatever was asked.
func NotModified() Fault {
	return Fault{"304", false, func(_ *Panel, w http.ResponseWriter, _ *http.Request, _ *answer) {
		w.WriteHeader(http.StatusNotModified)
	}}
}

// Slow serves after d.
func Slow(d time.Duration) Fault {
	return Fault{"slow", true, func(p *Panel, w http.ResponseWriter, r *http.Request, a *answer) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			a.send(w)
		case <-r.Context().Done():
		case <-p.closing:
		}
	}}
}

// WrongDate serves with a clock that is ahead by d.
func WrongDate(d time.Duration) Fault {
	return Fault{"wrong date", true, func(p *Panel, w http.ResponseWriter, _ *http.Request, a *answer) {
		w.Header().Set("Date", p.now().Add(d).UTC().Format(http.TimeFormat))
		a.send(w)
	}}
}

type pendingFault struct {
	fault Fault
	left  int // below 0: for good
}

// Fail makes the next n requests of the call meet f, those of earlier Fail calls first. n below 0 is
// until Heal.
func (p *Panel) Fail(call Call, f Fault, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[call] = append(p.faults[call], &pendingFault{f, n})
}

// Heal forgets all faults to come.
func (p *Panel) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.faults)
}

// nextFaultLocked takes the fault that a request of call meets now.
func (p *Panel) nextFaultLocked(call Call) (Fault, bool) {
	for _, key := range [...]Call{call, Any} {
		for len(p.faults[key]) > 0 {
			f := p.faults[key][0]
			if f.left == 0 {
				p.faults[key] = p.faults[key][1:]
				continue
			}
			if f.left > 0 {
				f.left--
			}
			return f.fault, true
		}
	}
	return Fault{}, false
}

func hijack(w http.ResponseWriter) (net.Conn, bool) {
	h, ok := w.(http.Hijacker)
	if !ok {
		return nil, false
	}
	conn, _, err := h.Hijack()
	return conn, err == nil
}
