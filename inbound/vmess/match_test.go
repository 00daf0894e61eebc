package vmess

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/inbound"
	"heki/inbound/internal/match"
	"heki/internal/protocol/vmess"
	"heki/option"
	"heki/transport/tcp"
)

var someTime = time.Unix(1_700_000_000, 0)

var destination = M.ParseSocksaddr("example.com:443")

// still is an inbound that does not listen, at a time that stands.
func still(t testing.TB, o option.VMess, m *Memory, users []*adapter.User) *Inbound {
	t.Helper()
	env := inbound.Env{
		Listeners: new(tcp.Pool), Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return someTime },
	}
	in, err := New(env, "in", &o, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	if err := in.SwapUsers(users); err != nil {
		t.Fatal(err)
	}
	return in
}

// try sends first from an address and returns the user.
func try(in *Inbound, from string, first []byte) (string, error) {
	a := attempt{in: in, ctx: context.Background(), md: &adapter.Metadata{Source: netip.AddrPortFrom(netip.MustParseAddr(from), 1)}}
	req, n, err := a.parse(first)
	if err != nil {
		return "", err
	}
	if n > len(first) || req.Destination != destination {
		return "", fmt.Errorf("request %+v", req)
	}
	return a.who.user.Name, nil
}

// at is a client's time.
func at(seconds int) time.Time { return someTime.Add(time.Duration(seconds) * time.Second) }

func TestWhoMayHow(t *testing.T) {
	aead := client{security: vmess.SecurityGCM, at: someTime}
	md5 := client{security: vmess.SecurityGCM, at: someTime, legacy: true}
	alter := client{security: vmess.SecurityGCM, at: someTime, legacy: true, alter: 2}
	for _, tt := range []struct {
		name    string
		o       option.VMess
		alterID int
		others  int // alterId of another user
		ok      [3]bool
	}{
		{"modern", option.VMess{}, 0, 0, [3]bool{true, false, false}},
		{"beside a legacy user", option.VMess{}, 0, 2, [3]bool{true, true, false}},
		{"legacy user", option.VMess{}, 2, 0, [3]bool{false, true, true}},
		{"legacy on", option.VMess{Legacy: true}, 0, 0, [3]bool{true, true, false}},
		{"force_aead", option.VMess{ForceAEAD: true}, 2, 2, [3]bool{true, false, false}},
		{"force_legacy", option.VMess{ForceLegacy: true}, 0, 0, [3]bool{false, true, false}},
		{"force_legacy and alter ids", option.VMess{ForceLegacy: true}, 2, 0, [3]bool{false, true, true}},
	} {
		users := people(2, tt.alterID)
		users[1].AlterID = tt.others
		in := still(t, tt.o, NewMemory(), users)
		for i, c := range []client{aead, md5, alter} {
			_, first := c.request(users[0].Account, destination)
			name, err := try(in, "192.0.2.1", first)
			if ok := err == nil && name == users[0].Name; ok != tt.ok[i] {
				t.Errorf("%s: client %d: %q, %v", tt.name, i, name, err)
			}
			if err != nil && !errors.Is(err, inbound.ErrUnknownUser) {
				t.Errorf("%s: client %d: %v", tt.name, i, err)
			}
		}
	}
}

func TestClockAndReplay(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		users := people(3, 0)
		m := NewMemory()
		in := still(t, option.VMess{Legacy: true}, m, users)
		for off, ok := range map[int]bool{-121: false, -120: true, -119: true, 0: true, 119: true, 120: true, 121: false, 1 << 30: false} {
			c := client{security: vmess.SecurityGCM, at: at(off), legacy: legacy}
			_, first := c.request(users[1].Account, destination)
			name, err := try(in, "192.0.2.1", first)
			if (err == nil) != ok || ok && name != users[1].Name {
				t.Errorf("legacy %v, %d s off: %q, %v", legacy, off, name, err)
			}
			if err == nil {
				if _, err := try(in, "192.0.2.1", first); !errors.Is(err, errReplay) {
					t.Errorf("legacy %v: a replayed request: %v", legacy, err)
				}
				// Not for a new set of users either, nor for the inbound that takes this one's place.
				if err := in.SwapUsers(people(2, 0)); err != nil {
					t.Fatal(err)
				}
				if _, err := try(in, "192.0.2.1", first); err == nil {
					t.Errorf("legacy %v: replayed after a swap", legacy)
				}
				if _, err := try(still(t, option.VMess{Legacy: true}, m, users), "192.0.2.1", first); err == nil {
					t.Errorf("legacy %v: replayed to the next inbound", legacy)
				}
			}
		}
	}
}

// Clients of one second may share a legacy auth id, but not a session.
func TestLegacyAuthIsNotSingleUse(t *testing.T) {
	users := people(1, 0)
	in := still(t, option.VMess{ForceLegacy: true}, NewMemory(), users)
	c := client{security: vmess.SecurityGCM, at: someTime, legacy: true}
	_, one := c.request(users[0].Account, destination)
	_, two := c.request(users[0].Account, destination)
	for _, first := range [][]byte{one, two} {
		if _, err := try(in, "192.0.2.1", first); err != nil {
			t.Error(err)
		}
	}
	_, three := c.request(users[0].Account, destination)
	three[40] ^= 1
	if _, err := try(in, "192.0.2.1", three); err == nil {
		t.Error("a changed header is taken")
	}
	three[40] ^= 1
	if _, err := try(in, "192.0.2.1", three); !errors.Is(err, inbound.ErrUnknownUser) {
		t.Errorf("the auth id of a changed header: %v", err)
	}
}

// All bytes of a request are there at once or one by one: the user is looked up once.
func TestParts(t *testing.T) {
	users := people(3, 0)
	users[2].AlterID = 1
	in := still(t, option.VMess{}, NewMemory(), users)
	for i, c := range []client{
		{security: vmess.SecurityGCM, at: someTime},
		{security: vmess.SecurityGCM, at: someTime, legacy: true, alter: 1},
	} {
		who := users[2*i]
		_, first := c.request(who.Account, destination)
		a := attempt{in: in, ctx: context.Background(), md: new(adapter.Metadata)}
		for n := range first {
			if _, _, err := a.parse(first[:n]); !errors.Is(err, vmess.ErrShort) {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
		if _, n, err := a.parse(append(first, "payload"...)); err != nil || n != len(first) || a.who.user != who {
			t.Errorf("%d of %d bytes, %v", n, len(first), err)
		}
	}
}

func TestSwapKeepsKeys(t *testing.T) {
	in := still(t, option.VMess{}, NewMemory(), people(3, 0))
	before := in.users.Load()
	next := people(3, 0)
	next[1].UUID[0] = 9
	next[2].SpeedBytes = 1
	if err := in.SwapUsers(next); err != nil {
		t.Fatal(err)
	}
	after := in.users.Load()
	if after.entries[0].keys != before.entries[0].keys || after.entries[2].keys != before.entries[2].keys {
		t.Error("keys of unchanged users are made again")
	}
	if after.entries[1].keys == before.entries[1].keys || after.entries[2].user != next[2] {
		t.Error("a changed user is the old one")
	}
	for name, bad := range map[string]func(*adapter.User){
		"no uuid":       func(u *adapter.User) { u.UUID = [16]byte{} },
		"the same uuid": func(u *adapter.User) { u.UUID = next[0].UUID },
		"alterId -1":    func(u *adapter.User) { u.AlterID = -1 },
		"alterId 65536": func(u *adapter.User) { u.AlterID = 65536 },
	} {
		users := people(3, 0)
		bad(users[2])
		if err := in.SwapUsers(users); err == nil {
			t.Errorf("%s is taken", name)
		}
		if in.users.Load() != after {
			t.Errorf("%s: a refused set is in force", name)
		}
	}
}

// A user is found by the address, among the recent ones and by a scan, and not found once removed.
func TestWaysToBeFound(t *testing.T) {
	users := people(3*match.RecentSize, 0)
	m := NewMemory()
	in := still(t, option.VMess{}, m, users)
	c := client{security: vmess.SecurityGCM, at: someTime}
	for _, from := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.2"} {
		_, first := c.request(users[1000].Account, destination)
		if name, err := try(in, from, first); err != nil || name != users[1000].Name {
			t.Fatalf("from %s: %q, %v", from, name, err)
		}
	}
	if k := in.recent.At(0); k == nil || k.uuid != users[1000].UUID || in.recent.At(1) != nil {
		t.Error("the recent users are others")
	}
	if err := in.SwapUsers(append(users[:1000:1000], users[1001:]...)); err != nil {
		t.Fatal(err)
	}
	_, first := c.request(users[1000].Account, destination)
	if _, err := try(in, "192.0.2.1", first); !errors.Is(err, inbound.ErrUnknownUser) {
		t.Errorf("a removed user: %v", err)
	}
	for _, u := range users[:match.RecentSize+10] { // push everybody through
		_, first := c.request(u.Account, destination)
		if _, err := try(in, "192.0.2.3", first); err != nil {
			t.Fatal(err)
		}
	}
	hot := 0
	for _, e := range in.users.Load().entries {
		if e.hot.Load() {
			hot++
		}
	}
	if hot != match.RecentSize {
		t.Errorf("%d recent users, want %d", hot, match.RecentSize)
	}
}

// BenchmarkScan is what a stranger costs for each user.
func BenchmarkScan(b *testing.B) {
	for _, n := range []int{1000, 10_000, 50_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			users, err := newSet(new(set), people(n, 0), mode{})
			if err != nil {
				b.Fatal(err)
			}
			var id, plain [vmess.AuthIDSize]byte
			rand.Read(id[:])
			b.ReportAllocs()
			for b.Loop() {
				if who, _ := users.scan(id[:], &plain); who != nil {
					b.Fatal("a stranger is somebody")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/user")
		})
	}
}

// BenchmarkReconnect is a client that comes again from its address, its whole request included.
func BenchmarkReconnect(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			users := people(n, 0)
			in := still(b, option.VMess{}, NewMemory(), users)
			c := client{security: vmess.SecurityGCM, at: someTime}
			md := &adapter.Metadata{Source: netip.MustParseAddrPort("192.0.2.1:1")}
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				if i%10_000 == 0 { // auth ids have but four random bytes
					in.memory.authIDs = match.NewFilter(authIDPeriod, filterSize)
				}
				_, first := c.request(users[n/2].Account, destination)
				b.StartTimer()
				a := attempt{in: in, ctx: context.Background(), md: md}
				if _, _, err := a.parse(first); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSwap(b *testing.B) {
	users := people(50_000, 0)
	in := still(b, option.VMess{}, NewMemory(), users)
	for b.Loop() {
		if err := in.SwapUsers(users); err != nil {
			b.Fatal(err)
		}
	}
}
