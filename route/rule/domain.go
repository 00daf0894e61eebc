package rule

import (
	"errors"
	"fmt"
	"iter"
	"regexp/syntax"
	"slices"
	"strings"
)

const (
	maxDomain = 253 // RFC 1035 §2.3.4, without the root
	maxLabel  = 63
)

// parseName reads the domain of a domain: or full: line and returns it in lower case.
func parseName(s string) (string, error) {
	name := strings.Trim(strings.ToLower(s), ".")
	if err := checkName(name); err == nil {
		if addr, ok := literal(name); ok {
			return "", fmt.Errorf("is an address; did you mean ip:%s?", addr)
		}
		return name, nil
	} else if _, ok := parsePrefix(s); ok {
		return "", fmt.Errorf("is an address; did you mean ip:%s?", s)
	} else if host := hostIn(s); host != "" {
		return "", fmt.Errorf("%w; did you mean domain:%s?", err, host)
	} else {
		return "", err
	}
}

// checkName checks a domain in lower case.
func checkName(name string) error {
	if name == "" || len(name) > maxDomain {
		return fmt.Errorf("has a domain of %d bytes, must be 1 to %d", len(name), maxDomain)
	}
	if err := checkChars(name); err != nil {
		return err
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel {
			return fmt.Errorf("has a domain part of %d bytes, must be 1 to %d", len(label), maxLabel)
		}
	}
	return nil
}

// checkChars refuses what is in no domain, for such a line would never match.
func checkChars(s string) error {
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '.', r == '_':
		case r > 127:
			return errors.New("has a letter that no domain on the wire has; write an international name as xn--…")
		default:
			return fmt.Errorf("has %q, which no domain has", r)
		}
	}
	return nil
}

// hostIn finds the domain in a wildcard or a URL.
func hostIn(s string) string {
	s = strings.ToLower(s)
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest
	}
	s, _, _ = strings.Cut(s, "/")
	s, _, _ = strings.Cut(s, ":")
	s = strings.Trim(strings.TrimLeft(s, "*+^"), ".$")
	s = strings.ReplaceAll(s, `\.`, ".")
	if checkName(s) != nil {
		return ""
	}
	return s
}

// parseKeyword reads a line without a kind.
func parseKeyword(line string) (string, error) {
	word := strings.ToLower(line)
	if _, ok := parsePrefix(line); ok {
		return "", fmt.Errorf("is an address; did you mean ip:%s?", line)
	}
	if _, err := parsePorts(line, 0); err == nil && strings.ContainsAny(line, ",-") {
		return "", fmt.Errorf("is a list of ports; did you mean port:%s?", line)
	}
	err := checkChars(word)
	switch {
	case err == nil:
		return word, nil
	case strings.ContainsAny(line, `\^$()[]|?`) || strings.Contains(line, ".*"):
		return "", fmt.Errorf("%w; did you mean regexp:%s?", err, line)
	}
	if host := hostIn(line); host != "" {
		return "", fmt.Errorf("%w; did you mean domain:%s?", err, host)
	}
	return "", err
}

// exprError explains a bad expression.
func exprError(value string, err error) error {
	if host := hostIn(value); host != "" && strings.Contains(host, ".") {
		return fmt.Errorf("is not a regular expression; did you mean domain:%s?", host)
	}
	var bad *syntax.Error
	if !errors.As(err, &bad) {
		return err
	}
	if bad.Code == syntax.ErrInvalidPerlOp {
		return fmt.Errorf("has %q; look-around is not in RE2, use whitelist lines for exceptions", bad.Expr)
	}
	return fmt.Errorf("is not a regular expression: %s %q; escape characters that stand for themselves with \\", bad.Code, bad.Expr)
}

// unknownKind names the nearest kind.
func unknownKind(kind, value string) error {
	if strings.HasPrefix(value, "//") {
		if host := hostIn(value[2:]); host != "" {
			return fmt.Errorf("is a URL; did you mean domain:%s?", host)
		}
	}
	if name, port, ok := strings.Cut(kind+":"+value, ":"); ok && strings.Contains(name, ".") && checkName(strings.ToLower(name)) == nil {
		if list, err := parsePorts(port, 0); err == nil && len(list) > 0 {
			return fmt.Errorf("has a port; did you mean domain:%s? port: is a rule of its own", strings.ToLower(name))
		}
	}
	best := Nearest(strings.ToLower(kind), slices.Values(kinds))
	switch strings.ToLower(kind) { // other programs' words
	case "domain_suffix", "domain-suffix", "suffix":
		best = "domain"
	case "domain_regex", "regex":
		best = "regexp"
	case "ip_cidr", "ip-cidr", "ip-cidr6", "cidr":
		best = "ip"
	case "keyword", "domain_keyword", "domain-keyword":
		return fmt.Errorf("has the unknown kind %q; a keyword has none: write %s", clip(kind), clip(value))
	}
	if best != "" {
		return fmt.Errorf("has the unknown kind %q; did you mean %s:%s?", clip(kind), best, clip(value))
	}
	return fmt.Errorf("has the unknown kind %q, must be one of %s", clip(kind), strings.Join(kinds, ", "))
}

// Nearest returns the word of known that is at most two typing mistakes from word, or "".
func Nearest(word string, known iter.Seq[string]) string {
	best, near := "", 3
	for candidate := range known {
		if d := distance(word, candidate); d < near || d == near && d < 3 && candidate < best {
			best, near = candidate, d
		}
	}
	return best
}

// distance counts the letters to change, add or remove to turn a into b (Levenshtein), up to 9.
func distance(a, b string) int {
	if len(a) > 64 || len(a)-len(b) > 9 || len(b)-len(a) > 9 {
		return 9
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
