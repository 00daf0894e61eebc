// Package machine measures the machine for panels that show it: processor, memory, swap, disk, load, uptime.
package machine

import (
	"context"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
)

// Usage is a capacity and how much of it is used, in bytes.
type Usage struct{ Total, Used uint64 }

// State is the machine at one moment. What could not be measured is 0.
type State struct {
	CPU    float64 // percent of all processors since the measurement before
	Memory Usage
	Swap   Usage
	Disk   Usage // of the file system that state_dir is on
	Load   [3]float64
	Uptime time.Duration
}

// every is how long one measurement serves all nodes.
const every = 5 * time.Second

// Meter measures. Its methods are safe for concurrent use.
type Meter struct {
	dir string // on the disk to look at

	mu    sync.Mutex
	taken time.Time
	last  State
}

// New makes a meter that looks at the disk of dir.
func New(dir string) *Meter { return &Meter{dir: dir} }

// State is the machine now, or a few seconds ago.
func (m *Meter) State(ctx context.Context, now time.Time) State {
	m.mu.Lock()
	defer m.mu.Unlock()
	if age := now.Sub(m.taken); !m.taken.IsZero() && age >= 0 && age < every {
		return m.last
	}
	m.taken, m.last = now, m.measure(ctx)
	return m.last
}

func (m *Meter) measure(ctx context.Context) State {
	var s State
	if all, err := cpu.PercentWithContext(ctx, 0, false); err == nil && len(all) == 1 {
		s.CPU = min(max(all[0], 0), 100)
	}
	if v, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		s.Memory = Usage{v.Total, v.Used}
	}
	if v, err := mem.SwapMemoryWithContext(ctx); err == nil {
		s.Swap = Usage{v.Total, v.Used}
	}
	if v, err := disk.UsageWithContext(ctx, m.dir); err == nil {
		s.Disk = Usage{v.Total, v.Used}
	}
	if v, err := load.AvgWithContext(ctx); err == nil {
		s.Load = [3]float64{v.Load1, v.Load5, v.Load15}
	}
	if v, err := host.UptimeWithContext(ctx); err == nil {
		s.Uptime = time.Duration(v) * time.Second
	}
	return s
}
