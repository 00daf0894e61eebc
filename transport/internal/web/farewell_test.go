package web

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestFarewell(t *testing.T) {
	for _, tt := range []struct {
		name        string
		talk        time.Duration // how long the peer goes on sending
		least, most time.Duration
	}{
		{"silent", 0, FarewellDelay, FarewellDelay},
		{"a moment", time.Second, time.Second, time.Second + 2*FarewellDelay},
		{"for ever", time.Hour, FarewellTime, FarewellTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f Farewell
				var reads atomic.Uint32
				ended := make(chan time.Time, 1)
				start := time.Now()
				f.Say(&reads, func() { ended <- time.Now() })
				for time.Since(start) < tt.talk {
					time.Sleep(100 * time.Millisecond)
					reads.Add(1)
				}
				if d := (<-ended).Sub(start); d < tt.least || d > tt.most {
					t.Errorf("ended after %s, want %s to %s", d, tt.least, tt.most)
				}
				f.Stop()
			})
		})
	}
}

func TestFarewellStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Farewell
		f.Stop()
		f.Say(new(atomic.Uint32), func() { t.Error("said after Stop") })
		time.Sleep(FarewellDelay / 2)
		f.Stop()
		time.Sleep(time.Minute)
	})
}
