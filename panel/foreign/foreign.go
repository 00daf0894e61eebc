// Package foreign reads outbounds and routing rules that panels hand out in the words of other programs:
// as objects of an Xray configuration, or of a sing-box one.
//
// What has no counterpart here is refused by name and never left out in silence, unless it changes nothing
// about where a connection goes and what the server takes it for. Errors show no credentials.
package foreign

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	jsoniter "github.com/json-iterator/go"

	"heki/option"
	"heki/panel/phpjson"
)

// maxText bounds one outbound or rule in bytes; the largest of real ones are client certificates.
const maxText = 256 << 10

// errNoObject says so of a text. What is wrong with it in detail may quote a credential.
var errNoObject = errors.New("is no object of JSON")

// Outbound reads one outbound: of sing-box when it has a "type", of Xray when it has a "protocol". text is an
// object of JSON. The result is validated, its tag may be empty.
func Outbound(text string) (option.Outbound, error) {
	o, err := parse(text)
	if err != nil {
		return option.Outbound{}, err
	}
	var out option.Outbound
	if o.has("type") && !o.has("protocol") {
		out, err = singBox(text, o)
	} else {
		out, err = xray(o)
	}
	if err != nil {
		return option.Outbound{Tag: out.Tag}, err
	}
	return out, nil
}

// singBox reads what the configuration file takes as well.
func singBox(text string, o *object) (option.Outbound, error) {
	if kind := o.text("type"); kind == "group" {
		return option.Outbound{Tag: o.text("tag")}, errors.New(`type: "group" is not taken from a panel; write the group into outbounds and name its tag in the panel`)
	}
	var out option.Outbound
	err := option.Decode("", []byte(text), &out)
	return out, err
}

// Split returns the texts of the objects that text holds: of one object, or of a list of them, which with PHP may
// be an object whose every member is one.
func Split(text string) ([]string, error) {
	var all []string
	err := phpjson.Decode([]byte(text), func(it *jsoniter.Iterator) {
		if it.WhatIsNext() == jsoniter.ObjectValue {
			objects, list := true, []string(nil)
			phpjson.Object(it, func(string) bool {
				objects = objects && it.WhatIsNext() == jsoniter.ObjectValue
				list = append(list, string(it.SkipAndReturnBytes()))
				return true
			})
			if all = list; !objects || len(list) == 0 {
				all = []string{text}
			}
			return
		}
		phpjson.List(it, func() { all = append(all, string(it.SkipAndReturnBytes())) })
	})
	if err != nil {
		return nil, errNoObject
	}
	return all, nil
}

// object is one JSON object that is taken apart member by member, so that what nobody asked for can be
// refused. Names are compared without case, as Xray does.
type object struct {
	at      string            // place of its members: "settings.servers[0]."
	members map[string]any    // those that nobody took yet
	names   map[string]string // of all, as written
	doc     *document
}

// document is what the objects of one text share.
type document struct {
	objects []*object
	wrong   []string
}

// parse reads one object.
func parse(text string) (*object, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("has %d bytes, must be at most %d", len(text), maxText)
	}
	var members map[string]any
	err := phpjson.Decode([]byte(text), func(it *jsoniter.Iterator) {
		if it.WhatIsNext() != jsoniter.ObjectValue {
			phpjson.Fail(it, "is a list or a value")
			return
		}
		members, _ = it.Read().(map[string]any)
	})
	if err != nil {
		return nil, errNoObject
	}
	return new(document).object("", members), nil
}

func (d *document) object(at string, members map[string]any) *object {
	o := &object{at: at, members: make(map[string]any, len(members)), names: make(map[string]string, len(members)), doc: d}
	d.objects = append(d.objects, o)
	for name, v := range members {
		lower := strings.ToLower(name)
		if _, twice := o.names[lower]; twice {
			o.fail(name, "is set twice")
		}
		o.members[lower], o.names[lower] = v, name
	}
	return o
}

func (o *object) fail(name, format string, args ...any) {
	o.doc.wrong = append(o.doc.wrong, o.at+name+" "+fmt.Sprintf(format, args...))
}

func (o *object) has(name string) bool {
	_, ok := o.names[strings.ToLower(name)]
	return ok
}

// take returns a member, which is then known.
func (o *object) take(name string) any {
	lower := strings.ToLower(name)
	v := o.members[lower]
	delete(o.members, lower)
	return v
}

// text takes a text, a number or a switch.
func (o *object) text(name string) string {
	switch v := o.take(name).(type) {
	case nil:
	case string:
		return v
	case float64, bool:
		return fmt.Sprint(v)
	default:
		o.fail(name, "must be a text")
	}
	return ""
}

// number takes a whole number of 0 to most, also as a text.
func (o *object) number(name string, most int) int {
	text := strings.TrimSpace(o.text(name))
	if text == "" {
		return 0
	}
	var f float64
	if err := jsoniter.UnmarshalFromString(text, &f); err != nil || f != float64(int(f)) || f < 0 || int(f) > most {
		o.fail(name, "is %.32q, must be 0 to %d", text, most)
		return 0
	}
	return int(f)
}

// is takes a switch.
func (o *object) is(name string) bool {
	switch text := strings.ToLower(o.text(name)); text {
	case "", "0", "false":
		return false
	case "1", "true":
		return true
	default:
		o.fail(name, "is %.32q, must be true or false", text)
		return false
	}
}

// texts takes a list of texts, or one with commas between them.
func (o *object) texts(name string) []string {
	if v, ok := o.members[strings.ToLower(name)].(string); ok {
		o.take(name)
		var all []string
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				all = append(all, part)
			}
		}
		return all
	}
	return o.expressions(name)
}

// expressions takes a list of texts, or a single one, which may have commas.
func (o *object) expressions(name string) []string {
	var all []string
	switch v := o.take(name).(type) {
	case nil:
	case string:
		all = append(all, strings.TrimSpace(v))
	case float64:
		all = append(all, fmt.Sprint(v))
	case []any:
		for _, one := range v {
			switch one := one.(type) {
			case string:
				all = append(all, strings.TrimSpace(one))
			case float64:
				all = append(all, fmt.Sprint(one))
			default:
				o.fail(name, "must be a list of texts")
			}
		}
	default:
		o.fail(name, "must be a list of texts")
	}
	return slices.DeleteFunc(all, func(text string) bool { return text == "" })
}

// object takes an object; absent, null and PHP's empty list are an empty one.
func (o *object) object(name string) *object {
	switch v := o.take(name).(type) {
	case nil:
	case map[string]any:
		return o.doc.object(o.at+name+".", v)
	case []any:
		if len(v) > 0 {
			o.fail(name, "is a list, must be an object")
		}
	default:
		o.fail(name, "must be an object")
	}
	return o.doc.object(o.at+name+".", nil)
}

// one takes the only object of a list, or nil when there is none.
func (o *object) one(name string) *object {
	list, ok := o.take(name).([]any)
	switch {
	case !ok || len(list) == 0:
		return nil
	case len(list) > 1:
		o.fail(name, "has %d entries, but one outbound goes to one server as one user; write an outbound for each", len(list))
	}
	members, _ := list[0].(map[string]any)
	return o.doc.object(o.at+name+"[0].", members)
}

// ignore takes members that change nothing here.
func (o *object) ignore(names ...string) {
	for _, name := range names {
		o.take(name)
	}
}

// finish refuses every member that nobody took and that asks for something, and returns all that is wrong, on
// one line.
func (d *document) finish() error {
	for _, o := range d.objects {
		for _, lower := range slices.Sorted(maps.Keys(o.members)) {
			if !inert(o.members[lower]) {
				o.fail(o.names[lower], "is not served")
			}
		}
	}
	if len(d.wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(d.wrong, "; "))
}

// drop takes everything.
func (o *object) drop() { clear(o.members) }

// inert reports whether a value asks for nothing.
func inert(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case float64:
		return v == 0
	case string:
		return v == "" || v == "none"
	case []any:
		return len(v) == 0
	case map[string]any:
		for _, one := range v {
			if !inert(one) {
				return false
			}
		}
		return true
	}
	return false
}
