package panel

import (
	"crypto/rand"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"heki/adapter"
	"heki/internal/meter"
	"heki/option"
)

// BenchmarkPlan compares 50 000 users of whom 100 changed, and publishes them.
func BenchmarkPlan(b *testing.B) {
	const users = 50_000
	books := meter.NewLedger().Node("n", "s")
	accounts := make([]adapter.Account, users)
	for i := range accounts {
		accounts[i] = adapter.Account{ID: int64(i + 1), Name: strconv.Itoa(i + 1), Password: rand.Text()}
		rand.Read(accounts[i].UUID[:])
	}
	first := newPlan(books, nil, accounts)
	first.commit()
	published := first.byID
	b.Run("100 of 50000 changed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for i := range 100 {
				accounts[i*7].SpeedBytes++
			}
			p := newPlan(books, published, accounts)
			p.commit()
			published = p.byID
			if p.changed != 100 || p.added != 0 || p.removed != 0 {
				b.Fatal(p)
			}
		}
	})
	b.Run("all new", func(b *testing.B) {
		for b.Loop() {
			newPlan(meter.NewLedger().Node("n", "s"), nil, accounts).commit()
		}
	})
}

// Inbounds reuse what they derived from a *User that did not change.
func TestPlanKeepsIdentity(t *testing.T) {
	books := meter.NewLedger().Node("n", "s")
	accounts := []adapter.Account{{ID: 1, Password: "a"}, {ID: 2, Password: "b"}}
	first := newPlan(books, nil, accounts)
	again := newPlan(books, first.byID, slices.Clone(accounts))
	if !again.empty() || again.users[0] != first.users[0] || again.users[1] != first.users[1] {
		t.Errorf("again = %s", again)
	}
	swapped := newPlan(books, first.byID, []adapter.Account{{ID: 1, Password: "b"}, {ID: 2, Password: "a"}})
	if swapped.changed != 2 || len(swapped.gone) != 2 || swapped.users[0].Meter == first.users[0].Meter {
		t.Errorf("two users who exchange credentials: %s", swapped)
	}
	swapped.abort()
	if m := books.Meter(accounts[0]); m != first.users[0].Meter {
		t.Error("abort did not give the meter in use back")
	}
}

func TestFold(t *testing.T) {
	var f fold
	now := time.Unix(0, 0)
	said := 0
	for i := range 61 { // an hour, once a minute
		if line, ok := f.fail(now.Add(time.Duration(i)*time.Minute), "502 Bad Gateway"); ok {
			if said++; said == 2 && line != "still failing: 502 Bad Gateway (11 times)" {
				t.Errorf("line = %q", line)
			}
		}
	}
	if said != 7 {
		t.Errorf("said %d times in an hour, want 7", said)
	}
	if _, ok := f.fail(now, "timeout"); !ok {
		t.Error("another failure was not told")
	}
	if n := f.ok(); n != 62 {
		t.Errorf("%d failures, want 62", n)
	}
	if n := f.ok(); n != 0 {
		t.Errorf("%d failures after none", n)
	}
}

func TestBackoffTimes(t *testing.T) {
	for n, want := range []time.Duration{10, 10, 20, 40, 80, 160, 300, 300} {
		if got := backoff(10*time.Second, n); got != want*time.Second {
			t.Errorf("after %d: %s, want %ds", n, got, want)
		}
	}
	if got := backoff(10*time.Second, 1<<30); got != 5*time.Minute {
		t.Errorf("after many: %s", got)
	}
}

func TestLower(t *testing.T) {
	for _, tt := range [][3]int{{0, 0, 0}, {5, 0, 5}, {0, 5, 5}, {3, 5, 3}, {5, 3, 3}} {
		if got := lower(tt[0], tt[1]); got != tt[2] {
			t.Errorf("lower(%d, %d) = %d, want %d", tt[0], tt[1], got, tt[2])
		}
	}
}

// TestBuild: the panel rules, the operator fills, and nothing is shared with the configuration.
func TestBuild(t *testing.T) {
	local := option.Stream{TLS: &option.TLS{CertificatePath: "c", KeyPath: "k"}, Limits: &option.Limits{UserIPs: 1}}
	local.Listen.Listen = option.Listable[string]{"203.0.113.7"}
	plain := build("t", &Node{Protocol: "vless", Port: 80, ServerName: "x"}, local).Options.(*option.VLESS)
	if plain.TLS != nil || plain.Limits != nil || plain.Transport != nil || plain.ListenPort != 80 || plain.Stream.Listen.Listen[0] != "203.0.113.7" {
		t.Errorf("plain = %+v", plain)
	}
	secure := build("t", &Node{Protocol: "trojan", Port: 443, Network: "ws", Path: "/x", TLS: TLSOn, ServerName: "x"}, local).Options.(*option.Trojan)
	if !secure.TLS.Enabled || secure.TLS.CertificatePath != "c" || secure.TLS.ServerName != "x" || secure.Transport.Path != "/x" {
		t.Errorf("secure = %+v", secure)
	}
	if local.TLS.Enabled || local.TLS.ServerName != "" {
		t.Error("the configuration was written to")
	}
}

// FuzzParseFile: what is found in a file comes back from the snapshot written of it.
func FuzzParseFile(f *testing.F) {
	f.Add(`{"version":1,"nodes":[{"id":1,"protocol":"vless","port":443,"users":[{"id":1,"uuid":"b831381d-6324-4d53-ad4f-8cda48b30811","speed_limit_mbps":1.5}]}]}`)
	f.Add(`{"version":1,"nodes":[{"id":1,"protocol":"trojan","port":1,"network":"ws"}],"users":[{"id":7,"uuid":"x","name":"n"}]}`)
	f.Fuzz(func(t *testing.T, in string) {
		file, err := parseFile([]byte(in))
		if err != nil {
			return
		}
		n, accounts, err := file.Find(1)
		if err != nil {
			return
		}
		for _, a := range accounts {
			if a.ID <= 0 || a.Password == "" || a.Name == "" {
				t.Fatalf("taken: %+v", a)
			}
		}
		again, back, err := fileOf(1, n, accounts, time.Unix(0, 0)).Find(1)
		if err != nil || !slices.Equal(back, accounts) && n.Flow == "" || !reflect.DeepEqual(again, n) {
			t.Errorf("%+v %+v became %+v %+v, %v", n, accounts, again, back, err)
		}
	})
}
