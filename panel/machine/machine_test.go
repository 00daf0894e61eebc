package machine

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestState: this machine has memory, a disk and an uptime, and nodes share a measurement.
func TestState(t *testing.T) {
	m := New(t.TempDir())
	now := time.Now()
	s := m.State(t.Context(), now)
	if s.Memory.Total == 0 || s.Memory.Used == 0 || s.Memory.Used > s.Memory.Total || s.Disk.Total == 0 || s.Uptime <= 0 || s.CPU < 0 || s.CPU > 100 {
		t.Errorf("%+v", s)
	}
	if again := m.State(t.Context(), now.Add(every-1)); again != s {
		t.Errorf("measured again at once: %+v", again)
	}
	m.last = State{}
	if later := m.State(t.Context(), now.Add(every)); later.Memory.Total != s.Memory.Total {
		t.Errorf("not measured again: %+v", later)
	}
}

// TestSpeed: the network's speed is that since the measurement before, and counters that went back are none.
func TestSpeed(t *testing.T) {
	for _, tt := range []struct {
		was, is moved
		past    time.Duration
		want    Speed
	}{
		{moved{}, moved{100, 200}, time.Second, Speed{}},
		{moved{100, 100}, moved{1100, 300}, 10 * time.Second, Speed{100, 20}},
		{moved{100, 100}, moved{100, 100}, time.Second, Speed{}},
		{moved{100, 100}, moved{99, 300}, time.Second, Speed{}},
		{moved{100, 100}, moved{300, 99}, time.Second, Speed{}},
		{moved{1, 1}, moved{2, 2}, 0, Speed{}},
		{moved{1, 1}, moved{2, 2}, -time.Second, Speed{}},
	} {
		if got := speed(tt.was, tt.is, tt.past); got != tt.want {
			t.Errorf("%+v to %+v in %s: %+v, want %+v", tt.was, tt.is, tt.past, got, tt.want)
		}
	}
	for name, want := range map[string]bool{"lo": true, "veth12": true, "eth0": false, "ens3": false, "wg0": true, "bond0": false} {
		if inner(name) != want {
			t.Errorf("inner(%q) = %t", name, !want)
		}
	}
	if _, err := count(t.Context()); err != nil {
		t.Error(err)
	}
}
