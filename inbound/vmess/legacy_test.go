package vmess

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"heki/adapter"
	"heki/internal/protocol/vmess"
)

// people returns n users with that alterId.
func people(n, alterID int) []*adapter.User {
	users := make([]*adapter.User, n)
	for i := range users {
		a := adapter.Account{ID: int64(i + 1), Name: fmt.Sprint(i), AlterID: alterID}
		binary.BigEndian.PutUint64(a.UUID[:], uint64(i)+1)
		users[i] = &adapter.User{Account: a}
	}
	return users
}

func entriesOf(t testing.TB, users []*adapter.User) []entry {
	t.Helper()
	s, err := newSet(new(set), users, mode{forceLegacy: true})
	if err != nil {
		t.Fatal(err)
	}
	return s.legacy()
}

// authOf is an auth id of that alter id, 0 being the uuid.
func authOf(e entry, alter int, unix int64) []byte {
	id := e.uuid
	for range alter {
		id = vmess.AlterID(id)
	}
	var sum [vmess.AuthIDSize]byte
	vmess.NewLegacyID(id).Auth(unix, &sum)
	return sum[:]
}

func TestLegacyTable(t *testing.T) {
	users := entriesOf(t, people(20, 3))
	var table legacyTable
	if err := table.update(users); err != nil {
		t.Fatal(err)
	}
	for hours := range 3 { // tables come and go
		now := someTime.Add(time.Duration(hours)*time.Hour + 7*time.Second)
		for i, e := range users {
			for alter := range 5 {
				for off := int64(-vmess.Window - 1); off <= vmess.Window+1; off += 11 {
					unix := now.Unix() + off
					user, got, ok := table.find(authOf(e, alter, unix), now)
					want := alter <= 3 && off >= -vmess.Window && off <= vmess.Window
					if ok != want || ok && (user != e.id || got != unix) {
						t.Fatalf("user %d, alter id %d, %d s off: %v, %v", i, alter, off, got, ok)
					}
				}
			}
		}
		if n := len(table.epochs); n > 27 {
			t.Errorf("%d tables", n)
		}
	}
}

func TestLegacyTableUpdate(t *testing.T) {
	var table legacyTable
	all := entriesOf(t, people(40, 2))
	more := entriesOf(t, people(40, 5))
	found := func(e entry, alter int) bool {
		user, _, ok := table.find(authOf(e, alter, someTime.Unix()-100), someTime)
		return ok && user == e.id
	}
	for _, step := range []struct {
		name  string
		users []entry
		has   []int // positions in all
		not   []int
	}{
		{"some", all[:10], []int{0, 9}, []int{10}},
		{"a few more", all[:12], []int{0, 11}, []int{12}},
		{"many more", all, []int{0, 11, 39}, nil},
		{"one gone", all[1:], []int{1, 39}, []int{0}},
		{"back", all, []int{0, 1, 39}, nil},
		{"most gone", all[:3], []int{0, 2}, []int{3, 39}},
		{"none", nil, nil, []int{0, 39}},
		{"all again", all, []int{0, 39}, nil},
	} {
		if err := table.update(step.users); err != nil {
			t.Fatal(err)
		}
		for _, i := range step.has {
			if !found(all[i], 0) || !found(all[i], 2) {
				t.Errorf("%s: user %d is not found", step.name, i)
			}
		}
		for _, i := range step.not {
			if found(all[i], 0) || found(all[i], 2) {
				t.Errorf("%s: user %d is found", step.name, i)
			}
		}
	}
	if err := table.update(more); err != nil {
		t.Fatal(err)
	}
	if !found(more[7], 5) || !found(more[7], 1) {
		t.Error("a higher alterId is not in force")
	}
	if err := table.update(entriesOf(t, people(17, 65535))); err == nil {
		t.Error("more alter ids than can be numbered are taken")
	}
	if !found(more[7], 5) {
		t.Error("a refused set took the place of the old one")
	}
}

func TestBurn(t *testing.T) {
	var table legacyTable
	users := entriesOf(t, people(2, 0))
	if err := table.update(users); err != nil {
		t.Fatal(err)
	}
	id := authOf(users[0], 0, someTime.Unix())
	table.burn(id, someTime)
	if _, _, ok := table.find(id, someTime); ok {
		t.Error("a burnt auth id is found")
	}
	if _, _, ok := table.find(authOf(users[0], 0, someTime.Unix()+1), someTime); !ok {
		t.Error("the next second's is not")
	}
}

// BenchmarkLegacy is what an MD5 client costs, what somebody else costs, and the first lookup of all.
func BenchmarkLegacy(b *testing.B) {
	const users, alterID = 1000, 4
	entries := entriesOf(b, people(users, alterID))
	hit, miss := authOf(entries[500], 2, someTime.Unix()+3), make([]byte, vmess.AuthIDSize)
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			var table legacyTable
			if err := table.update(entries); err != nil {
				b.Fatal(err)
			}
			table.find(miss, someTime)
		}
	})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var table legacyTable
	if err := table.update(entries); err != nil {
		b.Fatal(err)
	}
	table.find(miss, someTime)
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.Run("hit", func(b *testing.B) {
		for b.Loop() {
			if _, _, ok := table.find(hit, someTime); !ok {
				b.Fatal("not found")
			}
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(users*(alterID+1)), "B/id")
	})
	b.Run("miss", func(b *testing.B) {
		for n := uint64(0); b.Loop(); n++ {
			binary.LittleEndian.PutUint64(miss, n*0x9e3779b97f4a7c15)
			table.find(miss, someTime)
		}
	})
}
