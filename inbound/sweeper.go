package inbound

import (
	"sync"
	"time"

	"heki/constant"
)

// dnsIdle is how long a session lives that only ever talked to port 53.
const dnsIdle = 30 * time.Second

// udpTimeout resolves an idle timeout of the options; 0 is the usual one.
func udpTimeout(d time.Duration) time.Duration {
	if d == 0 {
		return constant.UDPTimeout
	}
	return d
}

// sweeper looks at all sessions of a table four times in each idle period, and not at all while there
// are none.
type sweeper struct {
	idle, step time.Duration
	sweep      func(step, idle time.Duration) bool

	mu      sync.Mutex
	timer   *time.Timer
	running bool
	stopped bool
}

func (w *sweeper) init(idle time.Duration, sweep func(step, idle time.Duration) bool) {
	w.idle, w.sweep = idle, sweep
	w.step = min(idle, dnsIdle) / 4
}

// start makes the sweeper look until there is no session left.
func (w *sweeper) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running || w.stopped || w.step <= 0 {
		return
	}
	w.running = true
	if w.timer == nil {
		w.timer = time.AfterFunc(w.step, w.look)
		return
	}
	w.timer.Reset(w.step)
}

func (w *sweeper) look() {
	w.mu.Lock()
	w.running = false // sessions that open meanwhile start it again
	stopped := w.stopped
	w.mu.Unlock()
	if !stopped && w.sweep(w.step, w.idle) {
		w.start()
	}
}

// stop ends it for good.
func (w *sweeper) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}
