package app

import (
	"context"
	"path/filepath"
	"time"
)

const (
	// sourcesFile keeps which user came from which address last, so that a restart does not make
	// every VMess client cost a search among all users.
	sourcesFile = "vmess-sources"
	saveEvery   = 5 * time.Minute
)

func (a *App) sourcesPath() string { return filepath.Join(a.options.StateDir, sourcesFile) }

// loadMemory reads what a former process knew. Without it everything works, only slower.
func (a *App) loadMemory() {
	if err := a.memory.Sources.Load(a.sourcesPath(), time.Now()); err != nil {
		a.log.Warn("start without the VMess clients' known addresses", "err", err)
	}
}

func (a *App) saveMemory() error { return a.memory.Sources.Save(a.sourcesPath()) }

// startSaving saves now and then until Close, if there is a state directory.
func (a *App) startSaving() {
	if a.lock == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.stopSaving = cancel
	path := a.sourcesPath()
	a.saving.Go(func() {
		tick := time.NewTicker(saveEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := a.memory.Sources.Save(path); err != nil {
				a.log.Warn("save the VMess clients' known addresses", "err", err)
			}
		}
	})
}
