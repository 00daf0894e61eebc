package rule

import "bytes"

// nameTable holds full: and domain: names in one map: a name of n labels costs n lookups, however
// many rules there are.
type nameTable struct {
	lines map[string]nameLines
}

// nameLines are the first lines that name a domain alone, and it with its subdomains.
type nameLines struct{ full, suffix int32 }

func (t *nameTable) empty() bool { return len(t.lines) == 0 }

func (t *nameTable) add(name string, suffix bool, line int32) {
	if t.lines == nil {
		t.lines = make(map[string]nameLines)
	}
	at, ok := t.lines[name]
	if !ok {
		at = nameLines{none, none}
	}
	if suffix {
		at.suffix = min(at.suffix, line)
	} else {
		at.full = min(at.full, line)
	}
	t.lines[name] = at
}

// find returns the first line for a name in lower case.
func (t *nameTable) find(name []byte) int32 {
	best := int32(none)
	if at, ok := t.lines[string(name)]; ok {
		best = min(at.full, at.suffix)
	}
	for {
		dot := bytes.IndexByte(name, '.')
		if dot < 0 {
			return best
		}
		name = name[dot+1:]
		if at, ok := t.lines[string(name)]; ok {
			best = min(best, at.suffix)
		}
	}
}
