package meter

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"heki/adapter"
)

const benchUsers = 50_000

// fill gives a node benchUsers users, each with some bytes counted.
func fill(n *Node) []*Meter {
	meters := make([]*Meter, benchUsers)
	for i := range meters {
		meters[i] = n.Meter(adapter.Account{ID: int64(i + 1), Name: "user"})
		meters[i].up.Add(1)
	}
	return meters
}

// BenchmarkChunk is the price of a relayed chunk: 3 ns free, 38 ns paced, 6 to 110 ns contended on 2 CPUs, 0 allocs
// (TestChunkAllocs pins the 0).
func BenchmarkChunk(b *testing.B) {
	for _, bm := range []struct {
		name       string
		user, node int64
	}{{"free", 0, 0}, {"user", 1 << 50, 0}, {"user+node", 1 << 50, 1 << 50}} {
		n := newTestNode()
		n.SetLimits(Limits{NodeSpeedBytes: bm.node})
		m := n.Meter(adapter.Account{ID: 1, SpeedBytes: bm.user})
		b.Run(bm.name, func(b *testing.B) {
			l := open(b, m, home, nil)
			defer l.Close()
			b.ReportAllocs()
			for b.Loop() {
				l.Down(32 << 10)
			}
		})
		b.Run(bm.name+"/contended", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				l, err := m.Open(context.Background(), home, nil)
				if err != nil {
					b.Error(err)
					return
				}
				defer l.Close()
				for pb.Next() {
					l.Down(32 << 10)
				}
			})
		})
	}
}

// BenchmarkOpenClose is the price of a connection: one lease and its channel.
func BenchmarkOpenClose(b *testing.B) {
	m := newTestNode().Meter(adapter.Account{ID: 1, IPLimit: 3, ConnLimit: 100})
	keep := open(b, m, home, nil)
	defer keep.Close()
	kill := func() {}
	b.ReportAllocs()
	for b.Loop() {
		l, err := m.Open(context.Background(), home, kill)
		if err != nil {
			b.Fatal(err)
		}
		l.Close()
	}
}

func BenchmarkTake50k(b *testing.B) {
	n := newTestNode()
	meters := fill(n)
	for _, active := range []int{0, 500, benchUsers} {
		b.Run(fmt.Sprintf("%d active", active), func(b *testing.B) {
			n.Take()
			b.ReportAllocs()
			for b.Loop() {
				for _, m := range meters[:active] {
					m.up.Add(1)
				}
				if got := n.Take(); len(got.Users) != active {
					b.Fatalf("took %d users, want %d", len(got.Users), active)
				}
			}
		})
	}
}

// BenchmarkSync50k is what a panel sync asks of the ledger when nothing changed.
func BenchmarkSync50k(b *testing.B) {
	n := newTestNode()
	fill(n)
	for b.Loop() {
		for id := range int64(benchUsers) {
			n.Meter(adapter.Account{ID: id + 1, Name: "user"})
		}
		n.Forget()
	}
}

func BenchmarkOnline50k(b *testing.B) {
	n := newTestNode()
	for _, m := range fill(n)[:1000] {
		defer open(b, m, home, nil).Close()
	}
	for b.Loop() {
		if got := n.Online(); len(got) != 1000 {
			b.Fatalf("%d online, want 1000", len(got))
		}
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	for _, active := range []int{500, benchUsers} {
		b.Run(fmt.Sprintf("%d active", active), func(b *testing.B) {
			o, err := OpenOutbox(b.TempDir(), newTestNode())
			if err != nil {
				b.Fatal(err)
			}
			meters := fill(o.node)
			o.node.Take()
			for b.Loop() {
				for _, m := range meters[:active] {
					m.up.Add(1)
				}
				if err := o.Checkpoint(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMemory prints the heap of a user who never connected, and of one with a connection.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		start := heap()
		n := newTestNode()
		meters := fill(n)
		users := heap()
		leases := make([]adapter.Lease, len(meters))
		for i, m := range meters {
			leases[i] = open(b, m, home, nil)
		}
		conns := heap()
		b.ReportMetric(float64(users-start)/benchUsers, "B/user")
		b.ReportMetric(float64(conns-users)/benchUsers, "B/online")
		runtime.KeepAlive(n)
		for _, l := range leases {
			l.Close()
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
