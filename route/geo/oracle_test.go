package geo

import (
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// matches decides the slow and obvious way.
func (e entry) matches(name string) bool {
	switch e.kind {
	case 0:
		return strings.Contains(name, e.value)
	case 1:
		return regexp.MustCompile(e.value).MatchString(name)
	case 2:
		return name == e.value || strings.HasSuffix(name, "."+e.value)
	}
	return name == e.value
}

func (e entry) has(attribute string) bool {
	for _, a := range e.attributes {
		if a == attribute {
			return true
		}
	}
	return attribute == ""
}

// TestOracle compares files of random lists, short and long, with their entries one by one. The small
// alphabet makes hits frequent.
func TestOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	name := func() string {
		labels := make([]string, 1+r.IntN(5))
		for i := range labels {
			b := make([]byte, 1+r.IntN(2))
			for j := range b {
				b[j] = "ab-c"[r.IntN(4)]
			}
			labels[i] = string(b)
		}
		return strings.Join(labels, ".")
	}
	hits := 0
	for round, size := range []int{1, 5, 40, 300, 700, 2000} {
		list := make([]entry, size)
		for i := range list {
			list[i] = entry{kind: uint64(2 + r.IntN(2)), value: name()}
			switch r.IntN(200) {
			case 0:
				list[i] = entry{kind: 0, value: "c" + strings.ReplaceAll(name(), ".", "") + "ab"}
			case 1:
				list[i] = entry{kind: 1, value: "^c+[ab]\\." + regexp.QuoteMeta(name()) + "$"}
			}
			if r.IntN(3) == 0 {
				list[i].attributes = []string{"ads"}
			}
		}
		dir := t.TempDir()
		write(t, filepath.Join(dir, siteName), siteFile([]string{"OTHER", "A"}, []entry{{2, "a", nil}}, list))
		files, _ := newFiles(t, Places{Dir: dir})
		for _, attribute := range []string{"", "ads"} {
			line := "geosite:a"
			if attribute != "" {
				line += "@" + attribute
			}
			if size == 1 && attribute != "" && !list[0].has(attribute) {
				continue // an error, as TestMistakes says
			}
			set := compile(t, files, line)
			for range 500 {
				ask, want := name(), false
				for _, e := range list {
					want = want || e.has(attribute) && e.matches(ask)
				}
				if want {
					hits++
				}
				if got := set.Match(to(strings.ToUpper(ask))); got != want {
					t.Errorf("round %d: %s matches %s: %v, want %v", round, line, ask, got, want)
				}
			}
			for _, strange := range []string{"\xff\xfe", "ü.a", "a\n.b", "\r", strings.Repeat("\xf0", 255), strings.Repeat("a.", 200)} {
				set.Match(to(strange)) // names come from clients: nothing may break
			}
		}
	}
	if hits < 500 {
		t.Errorf("only %d hits", hits)
	}
}

// TestOracleAddresses does the same with networks that nest and touch.
func TestOracleAddresses(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	addr := func() netip.Addr {
		if r.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{byte(r.IntN(2)) * 255, byte(r.IntN(3)), byte(r.IntN(2)) * 255, byte(r.IntN(256))})
		}
		return netip.AddrFrom16([16]byte{0: byte(r.IntN(2)) * 255, 7: byte(r.IntN(2)), 8: byte(r.IntN(2)) * 255, 15: byte(r.IntN(256))})
	}
	for range 60 {
		list := make([]cidr, r.IntN(40))
		for i := range list {
			a := addr()
			list[i] = cidr{a.AsSlice(), uint64(r.IntN(a.BitLen() + 1))}
			if r.IntN(4) > 0 {
				list[i].bits = uint64(a.BitLen() - r.IntN(9))
			}
		}
		dir := t.TempDir()
		write(t, filepath.Join(dir, ipName), ipFile([]string{"A"}, list))
		files, _ := newFiles(t, Places{Dir: dir})
		is, not := compile(t, files, "geoip:a"), compile(t, files, "geoip:!a")
		for range 60 {
			a, want := addr(), false
			for _, c := range list {
				base, _ := netip.AddrFromSlice(c.ip)
				want = want || netip.PrefixFrom(base, int(c.bits)).Masked().Contains(a.Unmap())
			}
			md := to("x.test")
			md.Addresses = []netip.Addr{a}
			if is.Match(md) != want || not.Match(md) == want {
				t.Errorf("%v: %s is %v, not %v, want %v", list, a, is.Match(md), not.Match(md), want)
			}
		}
	}
}
