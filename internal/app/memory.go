package app

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"heki/inbound/shadowsocks"
	"heki/inbound/shadowsocksr"
	"heki/inbound/vmess"
)

const (
	// The files keep which user came from which address last, so that a restart does not make every
	// client cost a search among all users.
	vmessSources       = "vmess-sources"
	shadowsocksSources = "shadowsocks-sources"
	saveEvery          = 5 * time.Minute
)

// memories are what the inbounds of a process remember together, and what outlives each of them.
type memories struct {
	vmess        *vmess.Memory
	shadowsocks  *shadowsocks.Memory
	shadowsocksR *shadowsocksr.Memory
}

func newMemories() *memories {
	return &memories{vmess.NewMemory(), shadowsocks.NewMemory(), shadowsocksr.NewMemory()}
}

// load reads from dir what a former process knew. Without it everything works, only slower.
func (m *memories) load(dir string) error {
	now := time.Now()
	return errors.Join(
		m.vmess.Sources.Load(filepath.Join(dir, vmessSources), now),
		m.shadowsocks.Sources.Load(filepath.Join(dir, shadowsocksSources), now))
}

func (m *memories) save(dir string) error {
	return errors.Join(
		m.vmess.Sources.Save(filepath.Join(dir, vmessSources)),
		m.shadowsocks.Sources.Save(filepath.Join(dir, shadowsocksSources)))
}

func (a *App) loadMemory() {
	if err := a.memory.load(a.options.StateDir); err != nil {
		a.log.Warn("start without the clients' known addresses", "err", err)
	}
}

func (a *App) saveMemory() error { return a.memory.save(a.options.StateDir) }

// startSaving saves now and then until Close, if there is a state directory.
func (a *App) startSaving() {
	if a.lock == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.stopSaving = cancel
	dir := a.options.StateDir
	a.saving.Go(func() {
		tick := time.NewTicker(saveEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := a.memory.save(dir); err != nil {
				a.log.Warn("save the clients' known addresses", "err", err)
			}
		}
	})
}
