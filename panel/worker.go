package panel

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"heki/constant"
)

// worker is a goroutine that can be started and stopped, over and over.
type worker struct {
	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
}

// start runs run unless it runs.
func (w *worker) start(parent context.Context, run func(context.Context)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(parent)
	done := make(chan struct{})
	w.cancel, w.done = cancel, done
	go func() {
		defer close(done)
		run(ctx)
	}()
}

// stop ends run and waits for it.
func (w *worker) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		w.cancel()
		<-w.done
		w.cancel = nil
	}
}

// guard runs one step and survives its panic. Whatever the step planned, the next try is later.
func guard(say func(slog.Level, string, ...any), what string, step func(), later func(time.Duration)) {
	defer func() {
		if v := recover(); v != nil {
			say(slog.LevelError, "%s panicked: %v; next try in %s\n%s", what, v, constant.SyncInterval, debug.Stack())
			later(constant.SyncInterval)
		}
	}()
	step()
}
