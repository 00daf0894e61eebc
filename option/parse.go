package option

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

// Parse reads a configuration: JSON with comments and trailing commas, LF or CRLF, with or without a
// BOM. The options are complete: defaults are filled, every value is within its bounds. The error is
// Mistakes with everything that is wrong. Parse keeps no reference to data.
func Parse(data []byte) (*Options, error) {
	o := new(Options)
	if err := Decode("", data, o); err != nil {
		return nil, err
	}
	return o, nil
}

// Validator is what Decode calls after it has filled all fields.
type Validator interface {
	Validate(at Path) error
}

// Decode reads one file in the form of the configuration into the struct behind v, which may be any
// struct of fields that the configuration uses, and validates it. name stands in front of each
// mistake when it is not empty. The error is Mistakes; v is then half filled.
func Decode(name string, data []byte, v Validator) error {
	src := newSource(name, 0, withoutBOM(data))
	root, m := parseTree(src)
	if m != nil {
		return Mistakes{m}
	}
	return decodeTree(sources{src}, root, nil, v)
}

var bom = []byte("\xef\xbb\xbf")

func withoutBOM(data []byte) []byte { return bytes.TrimPrefix(data, bom) }

// parseTree builds the tree of one file, whose root is an object. Offsets start at src.base.
func parseTree(src *source) (*hujson.Value, *Mistake) {
	if bytes.HasPrefix(src.text, []byte("\xff\xfe")) || bytes.HasPrefix(src.text, []byte("\xfe\xff")) {
		return nil, rootMistake(src, src.base, errors.New("the file is UTF-16; save it as UTF-8"))
	}
	if m := checkSyntax(src); m != nil {
		return nil, m
	}
	// The line feed ends a comment on the last line: hujson wants one. The copy keeps data unshared.
	root, err := hujson.Parse(append(slices.Clone(src.text), '\n'))
	if err != nil { // checkSyntax is at least as strict; FuzzSyntax holds it to that
		return nil, rootMistake(src, src.base, err)
	}
	if src.base > 0 {
		for v := range root.All() {
			v.StartOffset += src.base
			v.EndOffset += src.base
		}
	}
	if root.Value.Kind() != '{' {
		err := fmt.Errorf("the file holds %s, must hold an object: { … }", kindOf(&root))
		return nil, rootMistake(src, root.StartOffset, err)
	}
	return &root, nil
}

func rootMistake(src *source, offset int, err error) *Mistake {
	m := &Mistake{Text: err}
	sources{src}.place(m, offset)
	return m
}

// decodeTree fills v from root, validates it, runs checks, and puts found and all new mistakes in order.
func decodeTree(src sources, root *hujson.Value, found Mistakes, v Validator, checks ...func() error) error {
	d := newDecoder(src)
	for _, m := range found {
		d.excused[m.Path] = true
	}
	d.value(nil, root, reflect.ValueOf(v).Elem(), "")
	all := append(found, d.mistakes...)
	for _, m := range MistakesOf(v.Validate("")) {
		if d.excused[m.Path] || errors.Is(m, errServesNothing) && len(all) > 0 {
			continue
		}
		src.place(m, find(root, m.Path).StartOffset)
		all = append(all, m)
	}
	known := all.places()
	for _, check := range checks {
		for _, m := range MistakesOf(check()) {
			// A part that could not be built says so of the whole entry: the mistake inside is why.
			if known[m.Path] || known[Path(strings.TrimSuffix(string(m.Path), "[0]"))] {
				continue
			}
			src.place(m, find(root, m.Path).StartOffset)
			all = append(all, m)
		}
	}
	if len(all) == 0 {
		return nil
	}
	all.sort()
	return all
}

// places are the paths of m and of all that holds them, the root aside.
func (m Mistakes) places() map[Path]bool {
	known := make(map[Path]bool, len(m))
	for _, one := range m {
		for p := one.Path; p != "" && !known[p]; p = p[:max(0, strings.LastIndexAny(string(p), ".["))] {
			known[p] = true
		}
	}
	return known
}
