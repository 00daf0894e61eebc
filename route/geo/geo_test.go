package geo

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/route/rule"
)

// newFiles returns the lists in dir, and what is logged.
func newFiles(t testing.TB, places Places) (*Files, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	return New(places, slog.New(slog.NewTextHandler(log, nil))), log
}

func compile(t testing.TB, geo rule.Geo, lines ...string) *rule.Set {
	t.Helper()
	set, err := rule.Compile(lines, geo)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func to(dst string) *adapter.Metadata {
	return &adapter.Metadata{Destination: M.ParseSocksaddr(dst + ":443")}
}

// write replaces a file by another one.
func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// copyOf puts the vectors into a folder of their own, under the names of the pairs.
func copyOf(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(names); i += 2 {
		data, err := os.ReadFile(filepath.Join("testdata", names[i]))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, names[i+1]), data)
	}
	return dir
}

// TestVectors reads what other implementations wrote.
func TestVectors(t *testing.T) {
	dats := copyOf(t, "geosite.dat", siteName, "geoip.dat", ipName)
	six := copyOf(t, "Country.mmdb", "Country.mmdb")
	four := copyOf(t, "country4.mmdb", "GeoLite2-Country.mmdb")
	for _, tt := range []struct {
		dir, line, yes, no string
	}{
		{dats, "geosite:netflix", "netflix.com www.netflix.com a.b.nflxvideo.net netflix.com.edgesuite.net apiproxy-12.example.net xnetflixdnstesty.org", "xnetflix.com www.netflix.com.edgesuite.net apiproxy-.example.net google.com"},
		{dats, "geosite:NetFlix", "WWW.NETFLIX.COM.", "netflix.org"},
		{dats, "geosite:google", "google.com steam.example fonts.googleapis.com a.google.cn", "www.steam.example"},
		{dats, "geosite:google@ads", "doubleclick.net x.admob-cn.com", "google.com google.cn steam.example"},
		{dats, "geosite:google@CN", "google.cn fonts.googleapis.com admob-cn.com", "google.com doubleclick.net"},
		{dats, "geosite:google@ads@cn", "admob-cn.com", "google.cn doubleclick.net"},
		{dats, "geosite:google@!cn", "steam.example", "google.com google.cn"},
		{dats, "geosite:google@x", "fonts.googleapis.com", "google.cn"},
		{dats, "geosite:empty", "", "google.com"},
		{dats, "geoip:cn", "1.0.1.0 1.0.1.255 1.0.2.0 1.0.3.255 [240e::] [240e:3fff:ffff::1] [::ffff:1.0.1.1]", "1.0.0.255 1.0.4.0 [240e:4000::] [::1] google.com"},
		{dats, "geoip:!CN", "1.0.0.255 1.0.4.0 [240e:4000::]", "1.0.1.0 [240e::1] google.com"},
		{dats, "geoip:telegram", "91.108.4.1 149.154.160.1", "149.154.160.2"},
		{dats, "geoip:private", "10.1.2.3 127.0.0.1 [fd00::1]", "1.0.1.1"},
		{dats, "geoip:!private", "1.0.1.1", "10.1.2.3 google.com"},
		{six, "geoip:cn", "1.0.1.0 1.0.3.255 8.8.128.1 8.8.255.255 [240e::1]", "8.8.127.255 1.0.4.0 [240e:4000::] [2002:100:100::1]"},
		{six, "geoip:us", "8.8.8.8 8.8.127.255", "8.8.128.0"},
		{six, "geoip:jp", "[2001:200::1]", "[2001:201::1] 32.1.2.0"},
		{six, "geoip:au", "1.1.1.1", "1.1.2.0"},
		{four, "geoip:cn", "1.0.1.0 1.0.3.255 8.8.128.1", "8.8.127.255 [240e::1]"},
		{four, "geoip:!us", "1.1.1.1 [240e::1]", "8.8.8.8"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			files, log := newFiles(t, Places{Dir: tt.dir})
			set := compile(t, files, tt.line)
			for _, dst := range strings.Fields(tt.yes) {
				if !set.Match(to(dst)) {
					t.Errorf("%s does not match", dst)
				}
			}
			for _, dst := range strings.Fields(tt.no) {
				if set.Match(to(dst)) {
					t.Errorf("%s matches", dst)
				}
			}
			if log.Len() > 0 {
				t.Errorf("logged: %s", log)
			}
		})
	}
}

// TestMistakes: what was looked for, where, and what may be meant.
func TestMistakes(t *testing.T) {
	dats := copyOf(t, "geosite.dat", siteName, "geoip.dat", ipName)
	both := copyOf(t, "geoip.dat", ipName, "Country.mmdb", "Country.mmdb")
	empty := t.TempDir()
	broken := t.TempDir()
	write(t, filepath.Join(broken, siteName), []byte("<html>404</html>"))
	write(t, filepath.Join(broken, "Country.mmdb"), []byte("<html>404</html>"))
	big := t.TempDir()
	write(t, filepath.Join(big, ipName), nil)
	if err := os.Truncate(filepath.Join(big, ipName), maxFile+1); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		places     Places
		line, want string
	}{
		{Places{Dir: empty}, "geosite:netflix", "needs the file geosite.dat, which is not in " + empty},
		{Places{Defaults: []string{empty, "", broken}}, "geoip:cn", filepath.Join(broken, "Country.mmdb") + ": damaged file"},
		{Places{Defaults: []string{"", empty}}, "geoip:cn", "needs the file geoip.dat or Country.mmdb or GeoLite2-Country.mmdb, none of which is in " + empty},
		{Places{}, "geoip:cn", "write route.geo.dir"},
		{Places{Dir: dats}, "geosite:netflx", "is not in " + filepath.Join(dats, siteName) + "; did you mean geosite:netflix?"},
		{Places{Dir: dats}, "geosite:something-else", "which has 3 lists"},
		{Places{Dir: dats}, "geosite:google@nope", "names no domain of " + filepath.Join(dats, siteName) + "; the attributes in google are: !cn, ads, cn, x"},
		{Places{Dir: dats}, "geosite:google@", "an attribute behind each @"},
		{Places{Dir: dats}, "geosite:@ads", "needs a list"},
		{Places{Dir: dats}, "geosite:google,netflix", "one geosite: line for each"},
		{Places{Dir: dats}, "geosite:!cn", "geosite:geolocation-!cn"},
		{Places{Dir: dats}, "geoip:telegran", "did you mean geoip:telegram?"},
		{Places{Dir: dats}, "geoip:cn,us", "one geoip: line for each"},
		{Places{Dir: dats}, "geoip:!", "nothing after the !"},
		{Places{Dir: dats}, "geoip:1.2.3.4", "did you mean ip:1.2.3.4?"},
		{Places{Dir: both}, "geoip:zz", filepath.Join(both, "Country.mmdb") + " or " + filepath.Join(both, ipName)},
		{Places{Dir: broken}, "geosite:netflix", filepath.Join(broken, siteName) + ": damaged file"},
		{Places{Dir: big}, "geoip:cn", "must have at most"},
	} {
		files, _ := newFiles(t, tt.places)
		_, err := rule.Compile([]string{"good", tt.line}, files)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), `line 2: "`+tt.line+`" `) {
			t.Errorf("%s: got  %v\nwant %s", tt.line, err, tt.want)
		}
	}
}

// TestOrder: which of several files is asked.
func TestOrder(t *testing.T) {
	config, state := copyOf(t, "geoip.dat", ipName), copyOf(t, "Country.mmdb", "Country.mmdb")
	both := copyOf(t, "geoip.dat", ipName, "Country.mmdb", "Country.mmdb")
	write(t, filepath.Join(config, siteName), siteFile([]string{"A"}, []entry{{2, "config.test", nil}}))
	write(t, filepath.Join(state, siteName), siteFile([]string{"A", "B"}, []entry{{2, "state.test", nil}}, nil))
	for _, tt := range []struct {
		name      string
		places    Places
		line, dst string
		want      bool
	}{
		{"next to the configuration first", Places{Defaults: []string{config, state}}, "geosite:a", "config.test", true},
		{"geoip.dat before Country.mmdb", Places{Defaults: []string{config, state}}, "geoip:cn", "8.8.128.1", false},
		{"what it lacks is in Country.mmdb", Places{Defaults: []string{config, state}}, "geoip:jp", "[2001:200::1]", true},
		{"the folder alone", Places{Dir: state, Defaults: []string{config}}, "geosite:a", "state.test", true},
		{"the folder's Country.mmdb first", Places{Dir: both}, "geoip:cn", "8.8.128.1", true},
		{"what it lacks is in geoip.dat", Places{Dir: both}, "geoip:telegram", "91.108.4.1", true},
	} {
		files, _ := newFiles(t, tt.places)
		if got := compile(t, files, tt.line).Match(to(tt.dst)); got != tt.want {
			t.Errorf("%s: %s is %v", tt.name, tt.dst, got)
		}
	}
	files, _ := newFiles(t, Places{Defaults: []string{config, state}})
	if _, err := files.Site("b"); err == nil {
		t.Error("two geosite.dat are mixed")
	}
}

// TestChanges: a changed file is in force in sets that were compiled before; a bad one is not.
func TestChanges(t *testing.T) {
	dir := t.TempDir()
	site, ip := filepath.Join(dir, siteName), filepath.Join(dir, ipName)
	write(t, site, siteFile([]string{"NETFLIX", "OTHER"}, []entry{{2, "old.test", nil}}, []entry{{3, "x.test", []string{"ads"}}}))
	write(t, ip, ipFile([]string{"CN"}, []cidr{{[]byte{192, 0, 2, 0}, 24}}))
	places := Places{Dir: dir}
	files, log := newFiles(t, places)
	set := compile(t, files, "geosite:netflix", "geosite:other@ads", "geoip:cn")
	matches := func(want string) {
		t.Helper()
		got := ""
		for _, dst := range []string{"old.test", "new.test", "x.test", "192.0.2.1", "192.0.3.1"} {
			if set.Match(to(dst)) {
				got += dst + " "
			}
		}
		if got != want {
			t.Errorf("matches %s, want %s", got, want)
		}
	}
	matches("old.test x.test 192.0.2.1 ")

	again, err := files.Site("NETFLIX")
	if first, _ := files.Site("netflix"); err != nil || first != again {
		t.Error("a list is there twice")
	}
	if a, err := files.IP("CN"); err != nil {
		t.Error(err)
	} else if b, _ := files.IP("cn"); a != b {
		t.Error("a list of addresses is there twice")
	}

	write(t, site, siteFile([]string{"OTHER", "NETFLIX"}, []entry{{3, "x.test", []string{"ads"}}}, []entry{{2, "new.test", nil}}))
	files.Use(places)
	matches("new.test x.test 192.0.2.1 ")
	if log.Len() > 0 {
		t.Errorf("logged: %s", log)
	}

	for _, bad := range []struct {
		data []byte
		want string
	}{
		{[]byte("<html>"), "damaged file"},
		{nil, "damaged file"},
		{siteFile([]string{"NETFLIXX"}, nil), "did you mean geosite:netflixx?"},
	} {
		log.Reset()
		write(t, site, bad.data)
		if _, err := files.Site("netflix"); err != nil { // as a panel's rules do
			t.Error(err)
		}
		matches("new.test x.test 192.0.2.1 ")
		if !strings.Contains(log.String(), bad.want) || strings.Count(log.String(), "the former list stays in force") != 2 {
			t.Errorf("logged: %s", log)
		}
		if _, err := files.Site("another"); err == nil {
			t.Error("a list comes out of a bad file")
		}
	}
	log.Reset()
	if err := errors.Join(os.Remove(site), os.Remove(ip)); err != nil {
		t.Fatal(err)
	}
	files.Use(places)
	matches("new.test x.test 192.0.2.1 ")
	if strings.Count(log.String(), "needs the file") != 3 {
		t.Errorf("logged: %s", log)
	}

	elsewhere := t.TempDir()
	write(t, filepath.Join(elsewhere, siteName), siteFile([]string{"NETFLIX", "OTHER"}, []entry{{2, "old.test", nil}}, []entry{{3, "y.test", []string{"ads"}}}))
	write(t, filepath.Join(elsewhere, ipName), ipFile([]string{"CN"}, []cidr{{[]byte{192, 0, 3, 0}, 24}}))
	files.Use(Places{Dir: elsewhere})
	matches("old.test 192.0.3.1 ")
	if got := files.Places().Dir; got != elsewhere {
		t.Errorf("places: %s", got)
	}
}

// TestPartlyBad: entries that cannot be used are left out, and said.
func TestPartlyBad(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, siteName), siteFile([]string{"A"}, []entry{
		{2, "good.test", nil}, {2, "bad domain", nil}, {1, "regexp(", nil}, {1, "^ok[0-9]", nil}, {0, "", nil}, {3, "ü.test", nil}, {2, "", nil},
	}))
	files, log := newFiles(t, Places{Dir: dir})
	set := compile(t, files, "geosite:a")
	for _, dst := range []string{"www.good.test", "ok1.test"} {
		if !set.Match(to(dst)) {
			t.Errorf("%s does not match", dst)
		}
	}
	if set.Match(to("other.test")) {
		t.Error("an empty entry matches everything")
	}
	if !strings.Contains(log.String(), "5 entries are left out") {
		t.Errorf("logged: %s", log)
	}
}

// TestDamaged: every prefix of the vectors, and lies about lengths, are errors.
func TestDamaged(t *testing.T) {
	for _, name := range []string{"geosite.dat", "geoip.dat"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		whole, err := readIndex(bytes.NewReader(data), int64(len(data)))
		if err != nil || len(whole) != 3 {
			t.Fatalf("%s: %v, %v", name, whole, err)
		}
		ends := map[int]bool{0: false}
		for _, at := range whole {
			ends[int(at.from+at.size)] = true
		}
		for i := range len(data) {
			if _, err := readIndex(bytes.NewReader(data[:i]), int64(i)); !errors.Is(err, ErrDamaged) && !ends[i] {
				t.Errorf("%s: %d bytes: %v", name, i, err)
			}
			if _, err := readIndex(bytes.NewReader(data[:i]), int64(len(data))); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %d bytes that shrank: %v", name, i, err)
			}
		}
	}
	for _, tt := range []struct{ name, entry string }{
		{"longer than its list", "\x12\x05\x08\x02"},
		{"unknown type of domain", "\x12\x02\x08\x04"},
		{"longer than an item may be", "\x12\x81\x80\x04" + strings.Repeat("x", maxItem+1)},
		{"no field", "\x02\x00"},
		{"group", "\x0b"},
	} {
		d := &dat{path: filepath.Join(t.TempDir(), siteName)}
		write(t, d.path, message(nil, 1, string(message(nil, 1, "A"))+tt.entry))
		if _, _, err := d.domains("a", nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, tt := range []cidr{{[]byte{1, 2, 3}, 8}, {nil, 0}, {[]byte{1, 2, 3, 4}, 33}, {make([]byte, 16), 129}} {
		d := &dat{path: filepath.Join(t.TempDir(), ipName)}
		write(t, d.path, ipFile([]string{"A"}, []cidr{tt}))
		if _, _, err := d.addresses("a"); !errors.Is(err, ErrDamaged) {
			t.Errorf("%v: %v", tt, err)
		}
	}
}

// TestCircles: a tree that leads back to its root ends all the same.
func TestCircles(t *testing.T) {
	file := countryFile([]string{"CN"}, 4)
	for i := range 8 {
		file[i] = 0 // the root's records are the root
	}
	if _, _, err := networks(file, "cn"); !errors.Is(err, ErrDamaged) {
		t.Errorf("err = %v", err)
	}
	if p, known, err := networks(countryFile([]string{"CN", "US"}, 4), "us"); err != nil || len(p) != 2 || p[1] != netip.MustParsePrefix("0.3.0.0/16") || len(known) != 2 {
		t.Errorf("%v, %v, %v", p, known, err)
	}
}
