package rule

import (
	"maps"
	"slices"
)

// automaton finds words in a text in one pass (Aho and Corasick, 1975). States are numbered breadth
// first, so the children of a state are neighbours and a state costs 13 bytes instead of a table.
type automaton struct {
	first []uint32    // the children of s are first[s] up to first[s+1]
	label []byte      // the byte that leads into s
	fail  []uint32    // the longest proper suffix of s that is a state
	word  []int32     // index of the word that ends in s, or -1
	root  [256]uint32 // the root's children by byte, 0 for none
}

// newAutomaton builds the automaton of words, which are sorted, unique and not empty.
func newAutomaton(words []string) *automaton {
	type span struct{ from, to, depth int } // words below a state share their first depth bytes
	a := &automaton{label: []byte{0}}
	queue := []span{{0, len(words), 0}}
	for i := 0; i < len(queue); i++ {
		at := queue[i]
		word := int32(-1)
		if at.from < at.to && len(words[at.from]) == at.depth {
			word = int32(at.from)
			at.from++
		}
		a.word = append(a.word, word)
		a.first = append(a.first, uint32(len(queue)))
		for j := at.from; j < at.to; {
			start, c := j, words[j][at.depth]
			for j < at.to && words[j][at.depth] == c {
				j++
			}
			if i == 0 {
				a.root[c] = uint32(len(queue))
			}
			queue = append(queue, span{start, j, at.depth + 1})
			a.label = append(a.label, c)
		}
	}
	a.first = append(a.first, uint32(len(queue)))
	a.fail = make([]uint32, len(queue))
	for s := 1; s < len(queue); s++ {
		for child := a.first[s]; child < a.first[s+1]; child++ {
			a.fail[child] = a.step(a.fail[s], a.label[child])
		}
	}
	return a
}

// step is the state after reading c in state s.
func (a *automaton) step(s uint32, c byte) uint32 {
	for s != 0 {
		for child := a.first[s]; child < a.first[s+1]; child++ {
			if a.label[child] == c {
				return child
			}
		}
		s = a.fail[s]
	}
	return a.root[c]
}

// keywordTable holds the keywords.
type keywordTable struct {
	words *automaton
	best  []int32 // by state: the first line of all keywords that end there
}

func (t *keywordTable) empty() bool { return t.words == nil }

// newKeywordTable takes the first line of each keyword, in lower case.
func newKeywordTable(lines map[string]int32) keywordTable {
	if len(lines) == 0 {
		return keywordTable{}
	}
	words := slices.Sorted(maps.Keys(lines))
	t := keywordTable{words: newAutomaton(words)}
	t.best = make([]int32, len(t.words.word))
	for s, word := range t.words.word { // breadth first: the suffix state, being shorter, is done
		t.best[s] = none
		if word >= 0 {
			t.best[s] = lines[words[word]]
		}
		if s > 0 {
			t.best[s] = min(t.best[s], t.best[t.words.fail[s]])
		}
	}
	return t
}

func (t *keywordTable) find(name []byte) int32 {
	best, s := int32(none), uint32(0)
	for _, c := range name {
		s = t.words.step(s, c)
		best = min(best, t.best[s])
	}
	return best
}
