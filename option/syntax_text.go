package option

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// str passes the string at pos, or says what is wrong inside it.
func (s *scanner) str() *Mistake {
	start := s.pos
	for i := start + 1; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			s.pos = i + 1
			return nil
		case c == '\n' || c == '\r':
			return s.failAt(start, "the string that starts here has no closing double quote on its line (a line break inside is written \\n)")
		case c < ' ':
			return s.failAt(i, "the control character U+%04X stands in a string; write \\u%04x", c, c)
		case c == '\\':
			n, ok := escapeLen(s.text[i:])
			if !ok {
				return s.failAt(i, "%s is no escape in a string; a backslash itself is written \\\\", quoteRune(s.text[i:i+n]))
			}
			i += n - 1
		}
	}
	return s.failAt(start, "the string that starts here has no closing double quote")
}

// escapeLen is the length of the escape at the start of text and whether JSON knows it.
func escapeLen(text []byte) (n int, ok bool) {
	if len(text) < 2 {
		return 1, false
	}
	if strings.IndexByte(`"\/bfnrt`, text[1]) >= 0 {
		return 2, true
	}
	if text[1] != 'u' {
		_, size := utf8.DecodeRune(text[1:])
		return 1 + size, false
	}
	if len(text) < 6 {
		return len(text), false
	}
	if _, err := strconv.ParseUint(string(text[2:6]), 16, 32); err != nil {
		return 2, false
	}
	return 6, true
}

func quoteRune(b []byte) string {
	return strings.TrimSuffix(strings.TrimPrefix(strconv.QuoteToGraphic(string(b)), `"\`), `"`)
}

// word is the literal at pos by hujson's rule of what belongs to one.
func (s *scanner) word() string {
	end := s.pos
	for end < len(s.text) {
		c := s.text[end]
		if c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			break
		}
		end++
	}
	return string(s.text[s.pos:end])
}

// found describes what stands at pos by its first character: what is outside of quotes may be a
// secret that lost them.
func (s *scanner) found() string {
	r, _ := utf8.DecodeRune(s.text[s.pos:])
	switch {
	case r == '"':
		return "a string"
	case !unicode.IsPrint(r):
		return fmt.Sprintf("the character U+%04X", r)
	}
	return strconv.Quote(string(r))
}

// strange explains a character that JSON never has outside of strings, but people write; else "".
func (s *scanner) strange() string {
	r, _ := utf8.DecodeRune(s.text[s.pos:])
	switch r {
	case '\'':
		return "a single quote; text stands in double quotes"
	case '/', '#':
		return fmt.Sprintf("%q; a comment starts with // or /*", string(r))
	}
	plain, ok := lookalike(r)
	switch {
	case !ok:
		return ""
	case unicode.IsPrint(r):
		return fmt.Sprintf("%c (U+%04X); write the plain character %s", r, r, plain)
	default:
		return fmt.Sprintf("the character U+%04X; write a plain space", r)
	}
}

// lookalike knows the full-width and typographic characters that editors and input methods put in.
func lookalike(r rune) (ascii string, ok bool) {
	switch r {
	case '“', '”', '„', '«', '»', '＂':
		return `"`, true
	case '，', '、':
		return ",", true
	case '：':
		return ":", true
	case '｛':
		return "{", true
	case '｝':
		return "}", true
	case '［', '【':
		return "[", true
	case '］', '】':
		return "]", true
	case '\u00a0', '\u3000', '\u200b', '\ufeff':
		return " ", true
	}
	return "", false
}

// wordHint says what a word that is no JSON literal could have been. It repeats only what cannot be
// a secret.
func wordHint(word string) string {
	switch strings.ToLower(word) {
	case "true", "yes", "on":
		return fmt.Sprintf("%q; write true", word)
	case "false", "no", "off":
		return fmt.Sprintf("%q; write false", word)
	case "null", "nil", "none":
		return fmt.Sprintf("%q; write null, or leave the entry out", word)
	}
	if c := word[0]; c == '+' || c == '-' || c == '.' || c >= '0' && c <= '9' {
		return "no valid number; a number is written like 443 or 1.5, any other text in double quotes"
	}
	return "text without quotes; text stands in double quotes"
}
