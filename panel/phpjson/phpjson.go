// Package phpjson reads JSON as PHP panels write it: numbers as strings, an empty object as an empty
// list, a list with holes as an object, null for anything.
//
// The functions read one value at the iterator and leave the first mistake in its Error; later calls
// then return zero values. Source: reference/panels.md §0.2.
package phpjson

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	jsoniter "github.com/json-iterator/go"
)

// maxText bounds the text of a number, a bool or a mistake that is looked at.
const maxText = 64

// Decode runs read over the one JSON value that body holds. What follows it but white space is a
// mistake, as is a body that ends early. Errors never quote the body: it may hold credentials.
func Decode(body []byte, read func(it *jsoniter.Iterator)) error {
	body = closed(trimBOM(body))
	it := jsoniter.ParseBytes(jsoniter.ConfigDefault, body)
	read(it)
	if it.Error == nil && it.WhatIsNext() == jsoniter.InvalidValue && errors.Is(it.Error, io.EOF) {
		return nil
	}
	switch {
	case it.Error == nil:
		return errors.New("more follows the JSON value")
	case errors.Is(it.Error, io.EOF):
		return errors.New("the JSON value ends early")
	}
	var m *mistake
	if errors.As(it.Error, &m) {
		return m
	}
	text, _, _ := strings.Cut(it.Error.Error(), ", error found") // the rest quotes the body
	if len(text) > maxText {
		text = text[:maxText]
	}
	return fmt.Errorf("is not JSON as expected: %q", text)
}

// mistake is a reading that this package or its caller refused.
type mistake struct{ text string }

func (m *mistake) Error() string { return m.text }

// Fail makes the reading fail with a text that the caller answers for, unless it failed before.
func Fail(it *jsoniter.Iterator, format string, args ...any) {
	if it.Error == nil {
		it.Error = &mistake{fmt.Sprintf(format, args...)}
	}
}

// Object reads an object and hands each member's name and value to read, which must read the value.
// An empty list and null are empty objects. It tells whether there was an object with members.
func Object(it *jsoniter.Iterator, read func(name string) bool) bool {
	switch it.WhatIsNext() {
	case jsoniter.ObjectValue:
		some := false
		it.ReadObjectCB(func(it *jsoniter.Iterator, name string) bool {
			some = true
			return read(name) && it.Error == nil
		})
		return some
	case jsoniter.ArrayValue:
		it.ReadArrayCB(func(it *jsoniter.Iterator) bool {
			Fail(it, "is a list, must be an object")
			return false
		})
	case jsoniter.NilValue:
		it.ReadNil()
	default:
		wrong(it, "an object")
	}
	return false
}

// List hands each element to read: of a list, of an object (its values in the order they stand), or
// the single value that stands for a list. null is empty.
func List(it *jsoniter.Iterator, read func()) {
	switch it.WhatIsNext() {
	case jsoniter.ArrayValue:
		it.ReadArrayCB(func(it *jsoniter.Iterator) bool {
			read()
			return it.Error == nil
		})
	case jsoniter.ObjectValue:
		it.ReadObjectCB(func(it *jsoniter.Iterator, _ string) bool {
			read()
			return it.Error == nil
		})
	case jsoniter.NilValue:
		it.ReadNil()
	default:
		read()
	}
}

// Text reads a string, or a number or bool as its text. null is empty.
func Text(it *jsoniter.Iterator) string {
	switch it.WhatIsNext() {
	case jsoniter.StringValue:
		return it.ReadString()
	case jsoniter.NumberValue:
		return string(it.ReadNumber())
	case jsoniter.BoolValue:
		return strconv.FormatBool(it.ReadBool())
	case jsoniter.NilValue:
		it.ReadNil()
	default:
		wrong(it, "a text")
	}
	return ""
}

// Texts reads a list of texts, a map of them, or one text split at commas and line ends.
func Texts(it *jsoniter.Iterator) []string {
	var all []string
	if it.WhatIsNext() == jsoniter.StringValue {
		for text := range strings.FieldsFuncSeq(it.ReadString(), func(r rune) bool {
			return r == ',' || r == '\n' || r == '\r'
		}) {
			all = append(all, strings.TrimSpace(text))
		}
		return all
	}
	List(it, func() { all = append(all, Text(it)) })
	return all
}

// Named reads one value and puts the member's name before what is wrong with it.
func Named[T any](it *jsoniter.Iterator, name string, read func(*jsoniter.Iterator) T) T {
	before := it.Error
	v := read(it)
	if before == nil && it.Error != nil {
		err := it.Error
		it.Error = nil
		Fail(it, "%s %v", name, err)
	}
	return v
}

// Lines reads a list of lines, or one text of them. Commas are part of a line.
func Lines(it *jsoniter.Iterator) (all []string) {
	if it.WhatIsNext() != jsoniter.StringValue {
		List(it, func() { all = append(all, Text(it)) })
		return all
	}
	for line := range strings.Lines(it.ReadString()) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// Int reads a whole number, also as a string or with a zero fraction. null and "" are 0, false is 0
// and true is 1.
func Int(it *jsoniter.Iterator) int64 {
	f, text := number(it)
	if it.Error != nil {
		return 0
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if f != math.Trunc(f) || math.Abs(f) > 1<<53 { // 2^53: beyond it a float64 skips whole numbers
		Fail(it, "is %s, must be a whole number", clip(text))
		return 0
	}
	return int64(f)
}

// Bool reads a switch: what Int takes, and "true" and "false". It is on when it is not 0.
func Bool(it *jsoniter.Iterator) bool {
	if it.WhatIsNext() != jsoniter.StringValue {
		return Int(it) != 0
	}
	switch text := strings.ToLower(strings.TrimSpace(it.ReadString())); text {
	case "", "0", "false":
		return false
	case "1", "true":
		return true
	default:
		Fail(it, "is %q, must be true or false", clip(text))
		return false
	}
}

// Float reads a number, also as a string. null and "" are 0.
func Float(it *jsoniter.Iterator) float64 {
	f, _ := number(it)
	return f
}

// number reads any form of a number and returns its text as well.
func number(it *jsoniter.Iterator) (float64, string) {
	var text string
	switch it.WhatIsNext() {
	case jsoniter.NumberValue:
		text = string(it.ReadNumber())
	case jsoniter.StringValue:
		text = strings.TrimSpace(it.ReadString())
		if text == "" {
			return 0, "0"
		}
	case jsoniter.BoolValue:
		if it.ReadBool() {
			return 1, "1"
		}
		return 0, "0"
	case jsoniter.NilValue:
		it.ReadNil()
		return 0, "0"
	default:
		wrong(it, "a number")
		return 0, ""
	}
	if it.Error != nil {
		return 0, text
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		Fail(it, "is %s, must be a number", clip(text))
		return 0, text
	}
	return f, text
}

// wrong fails the reading because the next value is not what must be there.
func wrong(it *jsoniter.Iterator, want string) {
	kind := ""
	switch it.WhatIsNext() {
	case jsoniter.ObjectValue:
		kind = "an object"
	case jsoniter.ArrayValue:
		kind = "a list"
	case jsoniter.StringValue:
		kind = "a text"
	case jsoniter.NumberValue, jsoniter.BoolValue:
		kind = "a number or bool"
	default:
		if errors.Is(it.Error, io.EOF) {
			return
		}
		Fail(it, "is not JSON, must be %s", want)
		return
	}
	Fail(it, "is %s, must be %s", kind, want)
}

// clip quotes the start of a text.
func clip(text string) string {
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	return strconv.Quote(text)
}

// closed makes sure that body ends with a byte that ends its value: json-iterator takes a number that
// touches the end of the input for a cut one.
func closed(body []byte) []byte {
	if n := len(body); n > 0 && body[n-1]-'0' > 9 {
		return body
	}
	return append(body[:len(body):len(body)], ' ')
}

func trimBOM(body []byte) []byte {
	const bom = "\xef\xbb\xbf" // a PHP file saved with one puts it in front of every answer
	if len(body) >= len(bom) && string(body[:len(bom)]) == bom {
		return body[len(bom):]
	}
	return body
}
