package rule

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/sagernet/sing/common/domain"
)

// Geo finds the lists that geosite: and geoip: lines stand for. Lists are shared: whoever asks for the
// same name gets the same pointer. Errors follow the line in a message: "is not in geosite.dat".
type Geo interface {
	// Site returns the domains of a list such as "netflix", or of those with every attribute behind
	// an @: "google@ads". Case does not matter.
	Site(name string) (*Domains, error)
	// IP returns the addresses of a country or another list such as "telegram". Case does not matter.
	IP(code string) (*Addresses, error)
}

// geoPrivate is the one geoip: code that needs no file.
const geoPrivate = "private"

var errNoGeo = errors.New("cannot be used here: no geo files are known")

// siteLine and areaLine are geosite: and geoip: lines.
type siteLine struct {
	list *Domains
	line int32
}

type areaLine struct {
	list *Addresses // nil for private
	not  bool       // geoip:!CC
	line int32
}

func (b *builder) addSite(i int32, value string) error {
	switch {
	case strings.Contains(value, ","):
		return errors.New("has several lists; write one geosite: line for each")
	case strings.HasPrefix(value, "!"):
		return errors.New("has a !, which only geoip: and attributes know; put the list into the whitelist, or write its opposite such as geosite:geolocation-!cn")
	case b.geo == nil:
		return errNoGeo
	}
	list, err := b.geo.Site(value)
	if err != nil {
		return err
	}
	for _, at := range b.set.sites {
		if at.list == list {
			return nil
		}
	}
	b.set.sites = append(b.set.sites, siteLine{list, i})
	return nil
}

func (b *builder) addArea(i int32, value string) error {
	code, not := strings.CutPrefix(value, "!")
	at := areaLine{not: not, line: i}
	switch {
	case code == "":
		return errors.New("has nothing after the !; write geoip:!cn")
	case strings.Contains(code, ","):
		return errors.New("has several codes; write one geoip: line for each")
	case strings.EqualFold(code, geoPrivate):
	case b.geo == nil:
		return errNoGeo
	default:
		if _, ok := parsePrefix(code); ok {
			return fmt.Errorf("is an address; did you mean ip:%s?", code)
		}
		var err error
		if at.list, err = b.geo.IP(code); err != nil {
			return err
		}
	}
	for _, old := range b.set.areas {
		if old.list == at.list && old.not == at.not {
			return nil
		}
	}
	b.set.areas = append(b.set.areas, at)
	return nil
}

func (s *Set) findSite(sub *subject, i int, limit int32) int32 {
	for _, at := range s.sites {
		if at.line >= limit {
			break
		}
		if at.list.match(sub, i) {
			return at.line
		}
	}
	return none
}

// findArea looks at every address: of an unresolved domain nothing is known, not even that it is
// outside a country.
func (s *Set) findArea(sub *subject) int32 {
	for _, at := range s.areas {
		if sub.addr.IsValid() && at.match(sub.addr) {
			return at.line
		}
		for _, addr := range sub.md.Addresses {
			if at.match(plainAddr(addr)) {
				return at.line
			}
		}
	}
	return none
}

func (a *areaLine) match(addr netip.Addr) bool {
	if a.list == nil {
		return isPrivate(addr) != a.not
	}
	return a.list.list.Load().has(addr) != a.not
}

// Domains is a list of domains that many sets share. What it holds can be replaced while it is in use;
// the zero value holds nothing.
type Domains struct{ list atomic.Pointer[domainList] }

// DomainEntries are what a list of domains is made of.
type DomainEntries struct {
	Keywords []string // substrings
	Exprs    []string // RE2 expressions
	Suffixes []string // domains with their subdomains
	Full     []string // domains alone
}

// domainList is compiled DomainEntries. Short lists of names are in a map, which is fast; long ones in
// a succinct set, which takes 8 bytes a name instead of 80.
type domainList struct {
	names    nameTable
	long     *domain.Matcher
	keywords keywordTable
	exprs    exprTable
}

// maxShort is the number of names up to which a map is used.
const maxShort = 512

// Set compiles e and puts it in the place of what d held. Entries that no domain can match or that
// are no expressions are left out; the error counts them and shows one, the others are in force.
func (d *Domains) Set(e DomainEntries) error {
	var l domainList
	var bad badEntries
	suffixes := cleanNames(e.Suffixes, &bad)
	full := cleanNames(e.Full, &bad)
	switch n := len(suffixes) + len(full); {
	case n == 0:
	case n <= maxShort:
		for _, name := range suffixes {
			l.names.add(name, true, 0)
		}
		for _, name := range full {
			l.names.add(name, false, 0)
		}
	default:
		l.long = domain.NewMatcher(full, suffixes, false)
	}
	words := make(map[string]int32, len(e.Keywords))
	for _, word := range e.Keywords {
		word = strings.ToLower(word)
		if err := checkChars(word); err != nil || word == "" {
			bad.add(word, err)
			continue
		}
		words[word] = 0
	}
	l.keywords = newKeywordTable(words)
	var exprs []expr
	for _, text := range e.Exprs {
		re, err := parseExpr(text)
		if err != nil || len(text) > maxLine {
			bad.add(text, err)
			continue
		}
		exprs = append(exprs, expr{re, 0})
	}
	l.exprs = newExprTable(exprs)
	d.list.Store(&l)
	return bad.err()
}

func (d *Domains) match(sub *subject, i int) bool {
	l := d.list.Load()
	if l == nil {
		return false
	}
	name := sub.name(i)
	if !l.names.empty() && l.names.find(name) != none {
		return true
	}
	// The succinct set reverses names by letters and is not made for what is no text.
	if l.long != nil && !sub.foreign[i] && l.long.Match(sub.lower(i)) {
		return true
	}
	if !l.keywords.empty() && l.keywords.find(name) != none {
		return true
	}
	return !l.exprs.empty() && l.exprs.find(sub, i, none) != none
}

// cleanNames returns the names in the form in which domains are compared.
func cleanNames(list []string, bad *badEntries) []string {
	clean := make([]string, 0, len(list))
	for _, s := range list {
		name := strings.Trim(strings.ToLower(s), ".")
		if err := checkName(name); err != nil {
			bad.add(s, err)
			continue
		}
		clean = append(clean, name)
	}
	return clean
}

// badEntries counts what was left out of a list.
type badEntries struct {
	count int
	text  string
	cause error
}

func (b *badEntries) add(text string, err error) {
	if b.count++; b.count > 1 {
		return
	}
	if b.cause = err; err == nil {
		b.cause = errors.New("is empty or too long")
	}
	b.text = clip(text)
}

func (b *badEntries) err() error {
	if b.count == 0 {
		return nil
	}
	return fmt.Errorf("%d entries are left out; the first is %q: %w", b.count, b.text, b.cause)
}
