package geo

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"heki/route/rule"
)

// vector is a file of testdata.
func vector(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// FuzzDat: lists lie inside the file, are no more than its bytes, and what is read of them is no longer
// than they are, whatever the lengths say.
func FuzzDat(f *testing.F) {
	f.Add(vector(f, "geosite.dat"))
	f.Add(vector(f, "geoip.dat"))
	f.Add(siteFile([]string{"A", "a", ""}, []entry{{0, "x", nil}, {1, "^y", []string{"ads", "!cn"}}}, nil, nil))
	f.Add([]byte("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x0a\x01A"))
	f.Fuzz(func(t *testing.T, data []byte) {
		index, err := readIndex(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		for code, at := range index {
			if code == "" || at.from < 0 || at.size < 0 || at.from+at.size > int64(len(data)) {
				t.Fatalf("%q is at %+v of %d bytes", code, at, len(data))
			}
			list := data[at.from : at.from+at.size]
			var total int
			var e rule.DomainEntries
			err := readItems(bytes.NewReader(list), at.size, func(item []byte) error {
				total += len(item)
				if _, err := parseCIDR(item); err != nil && !errors.Is(err, ErrDamaged) {
					t.Fatal(err)
				}
				kind, value, attributes, err := parseDomain(item)
				size := len(value)
				for _, a := range attributes {
					size += len(a)
				}
				if size > 3*len(item) { // lower case may be longer
					t.Fatalf("%d bytes out of %d", size, len(item))
				}
				switch kind {
				case typePlain:
					e.Keywords = append(e.Keywords, value)
				case typeFull:
					e.Full = append(e.Full, value)
				default:
					e.Suffixes = append(e.Suffixes, value)
				}
				return err
			})
			if err != nil && !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			if total > len(list) {
				t.Fatalf("%d bytes out of %d", total, len(list))
			}
			_ = new(rule.Domains).Set(e) // what cannot be used is left out
		}
	})
}

// FuzzCountry: networks of a database are disjoint, and each is in its country alone.
func FuzzCountry(f *testing.F) {
	f.Add(vector(f, "Country.mmdb"), "cn")
	f.Add(vector(f, "country4.mmdb"), "us")
	f.Add(countryFile([]string{"CN", "US", "JP"}, 7), "jp")
	f.Fuzz(func(t *testing.T, data []byte, code string) {
		prefixes, known, err := networks(data, code)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		if len(prefixes) > 4*len(data)+64 {
			t.Fatalf("%d networks out of %d bytes", len(prefixes), len(data))
		}
		found := false
		for _, k := range known {
			found = found || k == code
			if k == "" {
				t.Fatal("no code is a code")
			}
		}
		if len(prefixes) > 0 && !found && code != "" {
			t.Fatalf("%d networks of %q, which is not among %q", len(prefixes), code, known)
		}
		for _, p := range prefixes {
			if !p.IsValid() || p != p.Masked() {
				t.Fatalf("the network %s", p)
			}
		}
	})
}
