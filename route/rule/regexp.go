package rule

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// exprTable holds regexp: rules. Most expressions cannot match without one of a few words, so one
// pass of an automaton over all those words finds the few that are worth running.
type exprTable struct {
	list    []expr  // in the order of their lines
	always  []int32 // those without required words
	words   *automaton
	dict    []uint32  // by state: the next state on the suffix chain in which a word ends, 0 for none
	users   [][]int32 // by word: the expressions that require it
	scratch *sync.Pool
}

type expr struct {
	re   *regexp.Regexp
	line int32
}

func (t *exprTable) empty() bool { return len(t.list) == 0 }

// parseExpr compiles an expression. Domains are matched in lower case, so an expression written with
// capital letters means either case.
func parseExpr(s string) (*regexp.Regexp, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
		s = "(?i)" + s
	}
	return regexp.Compile(s)
}

// newExprTable builds the table of list, which is in the order of lines.
func newExprTable(list []expr) exprTable {
	if len(list) == 0 {
		return exprTable{}
	}
	t := exprTable{list: list, scratch: &sync.Pool{New: func() any { return new([maxName]byte) }}}
	by := make(map[string][]int32)
	for i, e := range list {
		words := requiredWords(e.re.String())
		if len(words) == 0 {
			t.always = append(t.always, int32(i))
		}
		for _, word := range words {
			by[word] = append(by[word], int32(i))
		}
	}
	if len(by) == 0 {
		return t
	}
	words := make([]string, 0, len(by))
	for word := range by {
		words = append(words, word)
	}
	slices.Sort(words)
	t.words = newAutomaton(words)
	for _, word := range words {
		t.users = append(t.users, by[word])
	}
	t.dict = make([]uint32, len(t.words.word))
	for s := 1; s < len(t.dict); s++ {
		if f := t.words.fail[s]; t.words.word[f] >= 0 {
			t.dict[s] = f
		} else {
			t.dict[s] = t.dict[f]
		}
	}
	return t
}

// find returns the first line below limit that matches name i, or none.
func (t *exprTable) find(sub *subject, i int, limit int32) int32 {
	best := int32(none)
	for _, id := range t.always {
		if t.list[id].line >= limit {
			break
		}
		if t.run(id, sub, i) {
			best = t.list[id].line
			break
		}
	}
	if t.words == nil {
		return best
	}
	var failed [16]int32 // expressions that were run for another of their words
	tries, s := 0, uint32(0)
	for _, c := range sub.name(i) {
		s = t.words.step(s, c)
		at := s
		if t.words.word[at] < 0 {
			at = t.dict[at]
		}
		for ; at != 0; at = t.dict[at] {
			for _, id := range t.users[t.words.word[at]] {
				if line := t.list[id].line; line >= limit || line >= best {
					break
				}
				if slices.Contains(failed[:min(tries, len(failed))], id) {
					continue
				}
				if t.run(id, sub, i) {
					best = t.list[id].line
					break
				}
				failed[tries%len(failed)] = id
				tries++
			}
		}
	}
	return best
}

// run matches without a copy. A name with capitals goes through a pooled buffer: one on the stack
// would escape into the regexp package.
func (t *exprTable) run(id int32, sub *subject, i int) bool {
	if !sub.upper[i] {
		return t.list[id].re.MatchString(sub.text[i])
	}
	buf := t.scratch.Get().(*[maxName]byte)
	n := copy(buf[:], sub.name(i))
	ok := t.list[id].re.Match(buf[:n])
	t.scratch.Put(buf)
	return ok
}

const (
	minWord  = 3  // shorter words are in most domains
	maxWords = 64 // of one expression
)

// requiredWords returns words in lower case of which every text that matches s has at least one, or
// nil when there are none worth looking for.
func requiredWords(s string) []string {
	re, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return nil
	}
	return required(re.Simplify())
}

func required(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return literalWord(re)
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpConcat: // any one part will do: take the one that is rarest
		var best []string
		for _, sub := range re.Sub {
			if words := required(sub); rarer(words, best) {
				best = words
			}
		}
		return best
	case syntax.OpAlternate: // every branch must have one
		var all []string
		for _, sub := range re.Sub {
			words := required(sub)
			if words == nil || len(all)+len(words) > maxWords {
				return nil
			}
			all = append(all, words...)
		}
		return all
	}
	return nil
}

// literalWord returns the literal in lower case. Letters that fold to something outside ASCII
// (k and s do) end the word, or a text with those would be missed.
func literalWord(re *syntax.Regexp) []string {
	best, word := "", make([]byte, 0, len(re.Rune))
	for _, r := range append(slices.Clone(re.Rune), -1) {
		ok := 0 < r && r < unicode.MaxASCII
		if ok && re.Flags&syntax.FoldCase != 0 {
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				ok = ok && f < unicode.MaxASCII
			}
		}
		if ok {
			word = append(word, byte(unicode.ToLower(r)))
			continue
		}
		if len(word) > len(best) {
			best = string(word)
		}
		word = word[:0]
	}
	if len(best) < minWord {
		return nil
	}
	return []string{best}
}

// rarer says whether looking for one of a is better than looking for one of b.
func rarer(a, b []string) bool {
	if a == nil || b == nil {
		return b == nil && a != nil
	}
	if x, y := shortest(a), shortest(b); x != y {
		return x > y
	}
	return len(a) < len(b)
}

func shortest(words []string) int {
	n := len(words[0])
	for _, word := range words {
		n = min(n, len(word))
	}
	return n
}
