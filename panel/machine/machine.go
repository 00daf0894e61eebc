// Package machine measures the machine for panels that show it: processor, memory, swap, disk, network,
// load, uptime.
package machine

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
)

// Usage is a capacity and how much of it is used, in bytes.
type Usage struct{ Total, Used uint64 }

// Speed is what went through the network interfaces since the measurement before, in bytes per second.
type Speed struct{ In, Out float64 }

// State is the machine at one moment. What could not be measured is 0.
type State struct {
	CPU    float64 // percent of all processors since the measurement before
	Memory Usage
	Swap   Usage
	Disk   Usage // of the file system that state_dir is on
	Net    Speed
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
	moved moved // when taken; zero before the first measurement
}

// moved is what the interfaces counted, in bytes.
type moved struct{ in, out uint64 }

// New makes a meter that looks at the disk of dir.
func New(dir string) *Meter { return &Meter{dir: dir} }

// State is the machine now, or a few seconds ago.
func (m *Meter) State(ctx context.Context, now time.Time) State {
	m.mu.Lock()
	defer m.mu.Unlock()
	if age := now.Sub(m.taken); !m.taken.IsZero() && age >= 0 && age < every {
		return m.last
	}
	s := m.measure(ctx)
	if is, err := count(ctx); err == nil {
		s.Net = speed(m.moved, is, now.Sub(m.taken))
		m.moved = is
	}
	m.taken, m.last = now, s
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

// count sums what the interfaces counted.
func count(ctx context.Context) (sum moved, err error) {
	counters, err := net.IOCountersWithContext(ctx, true)
	for _, c := range counters {
		if !inner(c.Name) {
			sum.in += c.BytesRecv
			sum.out += c.BytesSent
		}
	}
	return sum, err
}

// speed is what was moved in a time. Without a count before, or with one that went back as an interface
// is gone, there is none.
func speed(was, is moved, past time.Duration) Speed {
	s := past.Seconds()
	if was == (moved{}) || s <= 0 || is.in < was.in || is.out < was.out {
		return Speed{}
	}
	return Speed{In: float64(is.in-was.in) / s, Out: float64(is.out-was.out) / s}
}

// inner tells whether what the interface carries stays on the machine, or is counted once more elsewhere.
func inner(name string) bool {
	return name == "lo" || slices.ContainsFunc([]string{"veth", "docker", "br-", "virbr", "tun", "tap", "wg", "ifb"},
		func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
