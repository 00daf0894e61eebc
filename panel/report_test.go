package panel_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"heki/option"
	"heki/panel"
	"heki/panel/paneltest"
)

func TestReportsTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const users = 2500
		b := newBench(t, 1)
		for id := 1; id <= users; id++ {
			b.panel.SetUser(paneltest.User{ID: id})
		}
		b.start()
		defer b.stop()
		for id := int64(1); id <= users; id++ {
			b.move(tag1, id, id, 2*id)
		}
		l, err := b.host.users(tag1)[7].Meter.Open(t.Context(), netip.MustParseAddr("2001:db8::7"), nil)
		if err != nil {
			t.Fatal(err)
		}
		b.pass(67 * time.Second)
		for id := 1; id <= users; id++ {
			if got := b.panel.Traffic(1, id); got.Up != int64(id) || got.Down != 2*int64(id) {
				t.Fatalf("user %d: %+v", id, got)
			}
		}
		pushes := b.panel.Pushes()
		if len(pushes) != 3 || len(pushes[0].Users) != 1000 {
			t.Errorf("%d pushes, the first of %d users; want 3 of at most 1000", len(pushes), len(pushes[0].Users))
		}
		if got := strings.Join(b.panel.Alive(1, 7), " "); !strings.HasSuffix(got, "2001:db8::7") {
			t.Errorf("alive = %s", got)
		}
		l.Close()
		b.pass(3 * time.Minute)
		if got := b.panel.Alive(1, 7); len(got) != 0 {
			t.Errorf("alive after everybody left = %q", got)
		}
		st := b.status(tag1)
		if st.ReportedUp != users*(users+1)/2 || st.BacklogBytes != 0 || st.Reports != 3 || st.Users != users {
			t.Errorf("status = %+v", st)
		}
	})
}

// The interval of the first report is the panel's too, though it comes with the panel's first answer.
func TestFirstReportAtThePanelsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetNode(paneltest.Node{ID: 1, Protocol: "vless", Port: 10001, Push: 10, Pull: 3600})
		b.panel.SetUser(paneltest.User{ID: 1})
		b.start()
		defer b.stop()
		b.move(tag1, 1, 5, 7)
		b.pass(12 * time.Second)
		if got := b.panel.Traffic(1, 1); got.Up != 5 || got.Down != 7 {
			t.Errorf("after 12 s: %+v", got)
		}
	})
}

// A chunk that fails must not take the others with it, nor be sent twice.
func TestChunksSettleOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const users = 3000
		b := newBench(t, 1)
		for id := 1; id <= users; id++ {
			b.panel.SetUser(paneltest.User{ID: id})
		}
		b.start()
		defer b.stop()
		for id := int64(1); id <= users; id++ {
			b.move(tag1, id, 1, 0)
		}
		b.panel.Fail(paneltest.PushCall, paneltest.Slow(time.Second), 1)
		b.panel.Fail(paneltest.PushCall, paneltest.TooMany(4*time.Minute), 1)
		b.pass(2 * time.Minute)
		if got := b.panel.Total().Up; got != 1000 || b.panel.Requests(paneltest.PushCall) != 2 {
			t.Errorf("billed %d after %d pushes, want 1000 after 2: Retry-After is 4 min", got, b.panel.Requests(paneltest.PushCall))
		}
		b.pass(5 * time.Minute)
		if got := b.panel.Total().Up; got != users {
			t.Errorf("billed %d, want %d", got, users)
		}
	})
}

// While the panel is away nothing is sent whose fate could become unknown.
func TestOutageIsNotAmbiguous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.start()
		defer b.stop()
		b.panel.Fail(paneltest.Any, paneltest.BadGateway(), -1)
		b.sync() // the sync finds out first
		for range 60 {
			b.move(tag1, 1, 10, 0)
			b.pass(time.Minute)
		}
		if n := b.panel.Requests(paneltest.PushCall); n != 0 {
			t.Errorf("%d pushes into a 502", n)
		}
		if st := b.status(tag1); st.BacklogBytes != 600 || st.HeldBatches != 0 {
			t.Errorf("backlog %d, held %d", st.BacklogBytes, st.HeldBatches)
		}
		b.panel.Heal()
		b.pass(6 * time.Minute)
		if got := b.panel.Traffic(1, 1).Up; got != 600 {
			t.Errorf("billed %d, want 600", got)
		}
	})
}

func TestAmbiguous(t *testing.T) {
	for _, tt := range []struct {
		policy  string
		applied bool
		billed  int64
		held    int64
	}{
		{"hold", true, 5, 5},
		{"hold", false, 0, 5},
		{"", true, 5, 5},
		{"retry", true, 10, 0},
		{"retry", false, 5, 0},
		{"drop", true, 5, 0},
		{"drop", false, 0, 0},
	} {
		t.Run(fmt.Sprintf("%s applied=%t", tt.policy, tt.applied), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 1)
				b.cfg.Traffic.OnAmbiguous = tt.policy
				b.panel.SetUser(paneltest.User{ID: 1})
				b.start()
				defer b.stop()
				b.move(tag1, 1, 5, 0)
				b.panel.Fail(paneltest.PushCall, paneltest.Hang(tt.applied), 1)
				b.pass(5 * time.Minute)
				st := b.status(tag1)
				if got := b.panel.Traffic(1, 1).Up; got != tt.billed || st.HeldBytes != tt.held || st.BacklogBytes != 0 {
					t.Errorf("billed %d, held %d, backlog %d; want %d, %d, 0", got, st.HeldBytes, st.BacklogBytes, tt.billed, tt.held)
				}
				if b.log.count("may have arrived") != 1 {
					t.Error("the operator was not told once")
				}
			})
		})
	}
}

// Stopping waits for a report in flight instead of making it ambiguous, and sends the last bytes.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.start()
		b.move(tag1, 1, 5, 0)
		b.panel.Fail(paneltest.PushCall, paneltest.Slow(3*time.Second), 1)
		for b.panel.Requests(paneltest.PushCall) == 0 {
			b.pass(500 * time.Millisecond)
		}
		b.move(tag1, 1, 6, 0)
		b.stop()
		if got := b.panel.Traffic(1, 1).Up; got != 11 {
			t.Errorf("billed %d, want 11", got)
		}

		// With the panel down the rest is journalled, and goes out in the next life.
		b.start()
		b.move(tag1, 1, 100, 0)
		b.wire.SetDown(true)
		b.stop()
		b.start()
		b.wire.SetDown(false)
		b.pass(3 * time.Minute)
		if got := b.panel.Traffic(1, 1).Up; got != 111 {
			t.Errorf("billed %d, want 111", got)
		}

		// A panel that hangs does not hold the stop up beyond its context.
		b.move(tag1, 1, 1, 0)
		b.panel.Fail(paneltest.PushCall, paneltest.Hang(false), -1)
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = b.s.Close(ctx)
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("close took %s", took)
		}
	})
}

// TestThousandFailures moves random bytes while every push and many syncs fail at random, users come,
// go and change keys, and the process is restarted now and then. Nothing may be lost or invented but
// what the log declared ambiguous, and that to the byte.
func TestThousandFailures(t *testing.T) {
	for _, tt := range []struct {
		policy   string
		failures int
	}{{"hold", 1000}, {"retry", 200}} {
		t.Run(tt.policy, func(t *testing.T) {
			if raceEnabled { // the number is for the run without it
				tt.failures /= 5
			}
			synctest.Test(t, func(t *testing.T) { thousandFailures(t, tt.policy, tt.failures) })
		})
	}
}

func thousandFailures(t *testing.T, policy string, failures int) {
	rng := rand.New(rand.NewPCG(1, 2))
	b := newBench(t, 1)
	b.cfg.Traffic.OnAmbiguous = policy
	b.cfg.Options[0].SyncInterval = option.Duration(20 * time.Second)
	b.cfg.Options[0].ReportInterval = option.Duration(20 * time.Second)
	const users = 20
	for id := 1; id <= users; id++ {
		b.panel.SetUser(paneltest.User{ID: id})
	}
	b.start()
	var moved int64
	for b.panel.Requests(paneltest.PushCall) < failures {
		mishap(b, rng, users)
		moved += b.moveAll(rng)
		b.pass(22 * time.Second)
	}
	b.panel.Heal()
	b.pass(20 * time.Minute)
	defer b.stop()
	total := b.panel.Total()
	billed := total.Up + total.Down
	var twofold int64 // booked, and answered so that nobody can know
	for _, p := range b.panel.Pushes() {
		if p.Fault == "" || p.Fault == "slow" {
			continue
		}
		for _, u := range p.Users {
			twofold += u.Up + u.Down
		}
	}
	st := b.status(tag1)
	if st.BacklogBytes != 0 {
		t.Errorf("%d bytes are still waiting", st.BacklogBytes)
	}
	switch policy {
	case "hold":
		if never := moved - billed; never < 0 || st.HeldBytes != never+twofold {
			t.Errorf("moved %d, billed %d, held %d, want held %d", moved, billed, st.HeldBytes, never+twofold)
		}
	case "retry":
		if billed != moved+twofold {
			t.Errorf("moved %d, billed %d, want %d", moved, billed, moved+twofold)
		}
	}
	t.Logf("%d pushes: moved %d, billed %d, of that under an unclear answer %d, held %d",
		b.panel.Requests(paneltest.PushCall), moved, billed, twofold, st.HeldBytes)
}

// mishap makes the next push fail, and now and then something else happen.
func mishap(b *bench, rng *rand.Rand, users int) {
	faults := []paneltest.Fault{
		paneltest.Reset(true), paneltest.Reset(false), paneltest.Hang(true), paneltest.Hang(false), paneltest.BadGateway(),
		paneltest.ServerError(true), paneltest.ServerError(false), paneltest.CutBody(), paneltest.Garbage(), paneltest.Failure(),
		paneltest.TooMany(time.Second), paneltest.Forbidden(), paneltest.NotModified(), paneltest.Slow(time.Second),
	}
	b.panel.Fail(paneltest.PushCall, faults[rng.IntN(len(faults))], 1)
	switch rng.IntN(10) {
	case 0:
		b.panel.Fail(paneltest.Users, faults[rng.IntN(len(faults))], 1)
	case 1:
		b.panel.Rekey(1 + rng.IntN(users))
	case 2:
		id := 1 + rng.IntN(users)
		b.panel.RemoveUser(id)
		b.sync()
		b.panel.SetUser(paneltest.User{ID: id})
	case 3:
		b.wire.SetDown(true)
		b.pass(15 * time.Second)
		b.wire.SetDown(false)
	case 4:
		if rng.IntN(4) == 0 {
			b.stop()
			b.start()
		}
	}
}

// moveAll counts random bytes for every user and returns their sum.
func (b *bench) moveAll(rng *rand.Rand) (moved int64) {
	for _, u := range b.host.users(tag1) {
		l, err := u.Meter.Open(b.t.Context(), netip.MustParseAddr("192.0.2.1"), nil)
		if err != nil {
			continue
		}
		up, down := rng.Int64N(1<<20), rng.Int64N(1<<20)
		l.Up(up)
		l.Down(down)
		l.Close()
		moved += up + down
	}
	return moved
}

// While a panel that hangs keeps the next life waiting, nobody is served: the former process took its
// inbounds and meters with it. What moves is counted in the new books from the snapshot on.
func TestRestartWhilePanelHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		b := newBench(t, 1)
		for id := 1; id <= 20; id++ {
			b.panel.SetUser(paneltest.User{ID: id})
		}
		b.start()
		moved := b.moveAll(rng)
		b.panel.Fail(paneltest.Users, paneltest.Hang(false), 1)
		b.stop()
		b.start()
		if n := b.moveAll(rng); n != 0 {
			t.Errorf("%d bytes moved through inbounds that are gone", n)
		}
		b.pass(4 * time.Second)
		again := b.moveAll(rng)
		if again == 0 {
			t.Error("not serving from the snapshot")
		}
		b.pass(3 * time.Minute)
		defer b.stop()
		if got := b.panel.Total(); got.Up+got.Down != moved+again {
			t.Errorf("billed %d, want %d", got.Up+got.Down, moved+again)
		}
	})
}

// A service that never ran sends nothing: its journal waits.
func TestCloseUnstarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.start()
		b.move(tag1, 1, 5, 0)
		b.wire.SetDown(true)
		b.stop()
		b.wire.SetDown(false)
		s, err := panel.New(b.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(t.Context()); err != nil || b.panel.Requests(paneltest.PushCall) != 0 {
			t.Errorf("close: %v, %d pushes", err, b.panel.Requests(paneltest.PushCall))
		}
	})
}
