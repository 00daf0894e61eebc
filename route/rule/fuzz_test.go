package rule

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
)

// check compares a set with its lines matched one by one.
func check(t *testing.T, lines []string, md *adapter.Metadata) {
	t.Helper()
	set, err := Compile(lines, nil)
	var bad Errors
	if err != nil && !errors.As(err, &bad) {
		t.Fatal(err)
	}
	want := -1
	for i, line := range lines {
		if len(bad) > 0 && bad[0].Index == i {
			bad = bad[1:]
			continue
		}
		if oracle(line, md) {
			want = i
			break
		}
	}
	got, ok := set.MatchRule(md)
	if !ok {
		got = -1
	}
	if got != want || set.Match(md) != (want >= 0) {
		t.Errorf("lines %q\nmetadata %+v\nfirst match %d (match %v), want %d", lines, md, got, set.Match(md), want)
	}
}

func FuzzCompileMatch(f *testing.F) {
	f.Add("goog\nregexp:^a.*b$\nport:80,443", "www.google.com", "SNI.example.org.", "1.2.3.4", uint16(443), "panel/main/7", int64(3))
	f.Add("domain:a.b\nfull:b\nip:10.0.0.0/8\nip:::/0\n*", "a.b", "", "::ffff:10.1.2.3", uint16(1), "in", int64(0))
	f.Add("regexp:(foo|ba+r)baz\nregexp:(?i)KEY\nnode_id:1,7\nuser:3", "1.2.3.4", "foobaz.key", "", uint16(0), "panel/x/y/7", int64(3))
	f.Fuzz(func(t *testing.T, text, fqdn, sniffed, addr string, port uint16, inbound string, user int64) {
		if len(fqdn) > maxName || len(sniffed) > maxName || len(text) > 4096 {
			return
		}
		if strings.ContainsFunc(text+fqdn+sniffed, func(r rune) bool { return r > 126 }) {
			return // the oracle's lower case is not ours outside ASCII
		}
		md := &adapter.Metadata{
			Network: "udp", Inbound: inbound, Protocol: "quic", Domain: sniffed,
			Destination: M.Socksaddr{Fqdn: fqdn, Port: port},
			User:        &adapter.User{Account: adapter.Account{ID: user, Name: "alice"}},
		}
		if a, err := netip.ParseAddr(addr); err == nil {
			if fqdn == "" {
				md.Destination.Addr = a
			} else {
				md.Addresses = []netip.Addr{a}
			}
		}
		check(t, strings.Split(text, "\n"), md)
	})
}

// TestRandomSets compares big mixed sets with the oracle; the small alphabet makes hits frequent.
func TestRandomSets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func(n int) string {
		b := make([]byte, 1+r.IntN(n))
		for i := range b {
			b[i] = "abc"[r.IntN(3)]
		}
		return string(b)
	}
	name := func() string {
		s := word(3)
		for range r.IntN(4) {
			s += "." + word(3)
		}
		return s
	}
	addr := func() netip.Addr {
		if r.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{byte(r.IntN(2)) * 255, byte(r.IntN(3)), 0, byte(r.IntN(256))})
		}
		return netip.AddrFrom16([16]byte{0: byte(r.IntN(2)) * 255, 15: byte(r.IntN(256))})
	}
	for range 60 {
		lines := make([]string, r.IntN(30))
		for i := range lines {
			switch r.IntN(7) {
			case 0:
				lines[i] = word(6)
			case 1:
				lines[i] = "domain:" + name()
			case 2:
				lines[i] = "full:" + name()
			case 3:
				lines[i] = "regexp:(" + word(5) + "|" + word(5) + "+" + word(4) + ")[b-c]" + word(4)
			case 4, 5:
				a := addr()
				p, _ := a.Prefix(r.IntN(a.BitLen() + 1))
				lines[i] = "ip:" + p.String()
			case 6:
				lines[i] = "port:" + []string{"1", "1-5", "4-9,7", "65535"}[r.IntN(4)]
			}
		}
		for range 20 {
			md := &adapter.Metadata{Destination: M.Socksaddr{Port: uint16(r.IntN(40))}}
			if r.IntN(2) == 0 {
				md.Destination.Addr = addr()
			} else {
				md.Destination.Fqdn = name()
				md.Addresses = []netip.Addr{addr()}
			}
			if r.IntN(2) == 0 {
				md.Domain = strings.ToUpper(name()) + "."
			}
			check(t, lines, md)
		}
	}
}
