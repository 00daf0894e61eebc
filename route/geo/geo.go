// Package geo finds the lists behind geosite: and geoip: rules in files: v2fly's geosite.dat and
// geoip.dat, and MaxMind's Country.mmdb. Only lists that a rule names are kept, once each.
package geo

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"weak"

	"heki/route/rule"
)

// The names of the files, as their makers ship them.
const (
	siteName = "geosite.dat"
	ipName   = "geoip.dat"
)

// countryNames returns the names of MaxMind's file: as it is passed on, and as MaxMind has it.
func countryNames() []string { return []string{"Country.mmdb", "GeoLite2-Country.mmdb"} }

// maxFile bounds a file in bytes; the largest in the field have 60 MB.
const maxFile = 256 << 20

// ErrDamaged is a file that is not what its name says, or not whole.
var ErrDamaged = errors.New("damaged file")

// Places says where to look for files.
type Places struct {
	Dir      string   // route.geo.dir; its Country.mmdb, when there is one, goes before geoip.dat
	Defaults []string // in order, when Dir is empty; empty strings count for nothing
}

// folders are the places in the order in which they are looked at.
func (p Places) folders() []string {
	if p.Dir != "" {
		return []string{p.Dir}
	}
	return slices.DeleteFunc(slices.Clone(p.Defaults), func(dir string) bool { return dir == "" })
}

// Files reads lists and keeps those in use. It implements [rule.Geo], and is safe for concurrent use.
//
// A list that a rule uses is known by its name for as long as any rule uses it: when its file changes,
// what it holds is replaced, in all rules at once; when the new file is damaged or lacks the list, it
// keeps what it has, and the log says so.
type Files struct {
	log       *slog.Logger
	mu        sync.Mutex
	places    Places
	seen      []stamp // the files that were there at the last look
	site      []*dat
	ip        []finder
	domains   map[string]weak.Pointer[rule.Domains]
	addresses map[string]weak.Pointer[rule.Addresses]
}

// finder is a file with lists of addresses.
type finder interface {
	name() string
	// addresses returns the list of a code in lower case. The error is errNoList when it has none;
	// codes are then those that it has.
	addresses(code string) (list *rule.Addresses, codes []string, err error)
}

// errNoList is a whole file without the list in question.
var errNoList = errors.New("no such list")

// New returns the lists of the files in places. It reads nothing yet.
func New(places Places, log *slog.Logger) *Files {
	return &Files{
		log: log, places: places,
		domains:   make(map[string]weak.Pointer[rule.Domains]),
		addresses: make(map[string]weak.Pointer[rule.Addresses]),
	}
}

// Use makes places the ones to look at, and reads what changed there.
func (f *Files) Use(places Places) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.places = places
	f.refreshLocked()
}

// Places returns where files are looked for.
func (f *Files) Places() Places {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.places
}

// Site implements rule.Geo.
func (f *Files) Site(name string) (*rule.Domains, error) {
	name = strings.ToLower(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refreshLocked()
	if list := f.domains[name].Value(); list != nil {
		return list, nil
	}
	list := new(rule.Domains)
	if err := f.fillDomains(name, list); err != nil {
		return nil, err
	}
	f.domains[name] = weak.Make(list)
	return list, nil
}

// IP implements rule.Geo.
func (f *Files) IP(code string) (*rule.Addresses, error) {
	code = strings.ToLower(code)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refreshLocked()
	if list := f.addresses[code].Value(); list != nil {
		return list, nil
	}
	list := new(rule.Addresses)
	if err := f.fillAddresses(code, list); err != nil {
		return nil, err
	}
	f.addresses[code] = weak.Make(list)
	return list, nil
}

// stamp tells one state of a file from another.
type stamp struct {
	path string
	info os.FileInfo
}

func (s stamp) same(other stamp) bool {
	return s.path == other.path && s.info.Size() == other.info.Size() &&
		s.info.ModTime().Equal(other.info.ModTime()) && os.SameFile(s.info, other.info)
}

// look finds the files of places, best first.
func (f *Files) look() []stamp {
	var found []stamp
	for _, name := range append([]string{siteName, ipName}, countryNames()...) {
		for _, dir := range f.places.folders() {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && !info.IsDir() {
				found = append(found, stamp{path, info})
			}
		}
	}
	return found
}

// refreshLocked replaces what the lists in use hold when a file changed, came or went.
func (f *Files) refreshLocked() {
	found := f.look()
	if slices.EqualFunc(found, f.seen, stamp.same) {
		return
	}
	f.seen, f.site, f.ip = found, nil, nil
	var countries []finder
	for _, at := range found {
		switch filepath.Base(at.path) {
		case siteName:
			f.site = append(f.site, &dat{path: at.path})
		case ipName:
			f.ip = append(f.ip, &dat{path: at.path})
		default:
			countries = append(countries, &country{path: at.path})
		}
	}
	if f.places.Dir != "" {
		f.ip = append(countries, f.ip...)
	} else {
		f.ip = append(f.ip, countries...)
	}
	refill(f, "geosite:", f.domains, f.fillDomains)
	refill(f, "geoip:", f.addresses, f.fillAddresses)
}

// refill reads the lists in use again and forgets those that are not.
func refill[T any](f *Files, kind string, lists map[string]weak.Pointer[T], fill func(string, *T) error) {
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		list := lists[name].Value()
		if list == nil {
			delete(lists, name)
			continue
		}
		if err := fill(name, list); err != nil {
			f.log.Warn("the former list stays in force", "list", kind+name, "err", fmt.Errorf("%s%s %w", kind, name, err))
		}
	}
}

// fillDomains reads a list of geosite.dat. On error list stays as it is.
func (f *Files) fillDomains(name string, list *rule.Domains) error {
	code, attributes, err := parseSite(name)
	if err != nil {
		return err
	}
	if len(f.site) == 0 {
		return fmt.Errorf("needs the file %s, which is not in %s", siteName, f.where())
	}
	file := f.site[0] // the others are older
	entries, known, err := file.domains(code, attributes)
	switch {
	case errors.Is(err, errNoList):
		return notIn(file.path, "geosite:", code, known)
	case errors.Is(err, errNoDomain):
		return fmt.Errorf("names no domain of %s; the attributes in %s are: %s", file.path, code, strings.Join(known, ", "))
	case err != nil:
		return fmt.Errorf("cannot be read: %s: %w", file.path, err)
	}
	if err := list.Set(entries); err != nil {
		f.log.Warn("a list is not whole", "list", "geosite:"+name, "file", file.path, "err", err)
	}
	return nil
}

// fillAddresses reads the list of the first file that has it. On error list stays as it is.
func (f *Files) fillAddresses(code string, list *rule.Addresses) error {
	if len(f.ip) == 0 {
		return fmt.Errorf("needs the file %s or %s, none of which is in %s", ipName, strings.Join(countryNames(), " or "), f.where())
	}
	var paths, known []string
	for _, file := range f.ip {
		found, codes, err := file.addresses(code)
		switch {
		case err == nil:
			list.Take(found)
			return nil
		case !errors.Is(err, errNoList):
			return fmt.Errorf("cannot be read: %s: %w", file.name(), err)
		}
		paths, known = append(paths, file.name()), append(known, codes...)
	}
	return notIn(strings.Join(paths, " or "), "geoip:", code, known)
}

// where lists the folders.
func (f *Files) where() string {
	folders := f.places.folders()
	if len(folders) == 0 {
		return "any folder, for none is known; write route.geo.dir"
	}
	return strings.Join(folders, " or ")
}

func notIn(path, kind, code string, known []string) error {
	if near := rule.Nearest(code, slices.Values(known)); near != "" {
		return fmt.Errorf("is not in %s; did you mean %s%s?", path, kind, near)
	}
	return fmt.Errorf("is not in %s, which has %d lists", path, len(known))
}
