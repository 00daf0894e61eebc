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
