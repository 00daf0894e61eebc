package option

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

// decoder fills structs from a tree and goes on after every mistake.
type decoder struct {
	src      sources
	mistakes Mistakes
	excused  map[Path]bool // what Validate need not mention: a decode mistake is why it is missing
	sets     map[reflect.Type]*fieldSet
}

func newDecoder(src sources) *decoder {
	return &decoder{src: src, excused: make(map[Path]bool), sets: make(map[reflect.Type]*fieldSet)}
}

// place is a Path that costs nothing until a mistake needs it.
type place struct {
	up      *place
	name    string
	index   int
	element bool
}

func (p *place) path() Path {
	switch {
	case p == nil:
		return ""
	case p.element:
		return p.up.path().Index(p.index)
	default:
		return p.up.path().Key(p.name)
	}
}

// fail notes a mistake at offset; at is excused from Validate's.
func (d *decoder) fail(at *place, offset int, format string, args ...any) {
	m := &Mistake{Path: at.path(), Text: fmt.Errorf(format, args...)}
	d.src.place(m, offset)
	d.mistakes = append(d.mistakes, m)
	d.excused[m.Path] = true
}

// value decodes v into to. JSON null leaves to as it is, as if the member were not written.
func (d *decoder) value(at *place, v *hujson.Value, to reflect.Value, also string) {
	if v.Value.Kind() == 'n' {
		return
	}
	t := to.Type()
	switch {
	case t == reflect.TypeFor[Inbound]():
		d.inbound(at, v, to.Addr().Interface().(*Inbound)) //nolint:forcetypeassert // t says so
	case t == reflect.TypeFor[Outbound]():
		d.outbound(at, v, to.Addr().Interface().(*Outbound)) //nolint:forcetypeassert // t says so
	case t == reflect.TypeFor[Duration]():
		d.duration(at, v, to, also)
	default:
		d.byKind(at, v, to, also)
	}
}

func (d *decoder) byKind(at *place, v *hujson.Value, to reflect.Value, also string) {
	switch to.Kind() {
	case reflect.Pointer:
		to.Set(reflect.New(to.Type().Elem()))
		d.value(at, v, to.Elem(), also)
	case reflect.Struct:
		if object, ok := v.Value.(*hujson.Object); ok {
			d.object(at, object, to)
			return
		}
		if short, ok := to.Addr().Interface().(interface{ fromText(text string) error }); ok && v.Value.Kind() == '"' {
			if err := short.fromText(textOf(v)); err != nil {
				d.fail(at, v.StartOffset, "%w", err)
			}
			return
		}
		d.wrongType(at, v, "an object: { … }")
	case reflect.Map:
		d.table(at, v, to)
	case reflect.Slice:
		d.list(at, v, to)
	default:
		d.scalar(at, v, to, also)
	}
}

// list decodes a JSON list, and a single value where one is welcome.
func (d *decoder) list(at *place, v *hujson.Value, to reflect.Value) {
	array, ok := v.Value.(*hujson.Array)
	if ok {
		to.Set(reflect.MakeSlice(to.Type(), len(array.Elements), len(array.Elements)))
		for i := range array.Elements {
			d.value(&place{up: at, index: i, element: true}, &array.Elements[i], to.Index(i), "")
		}
		return
	}
	if !to.Type().Implements(reflect.TypeFor[interface{ isListable() }]()) {
		d.wrongType(at, v, "a list: [ … ]")
		return
	}
	one := reflect.New(to.Type().Elem()).Elem()
	d.value(at, v, one, "")
	to.Set(reflect.Append(reflect.MakeSlice(to.Type(), 0, 1), one))
}

// table decodes an object whose names are the operator's.
func (d *decoder) table(at *place, v *hujson.Value, to reflect.Value) {
	object, ok := v.Value.(*hujson.Object)
	if !ok {
		d.wrongType(at, v, "an object: { … }")
		return
	}
	to.Set(reflect.MakeMapWithSize(to.Type(), len(object.Members)))
	first := firstOffsets(object)
	for i := range object.Members {
		name, member := textOf(&object.Members[i].Name), &object.Members[i]
		in := &place{up: at, name: name}
		if d.duplicate(in, member, first[name]) {
			continue
		}
		one := reflect.New(to.Type().Elem()).Elem()
		d.value(in, &member.Value, one, "")
		to.SetMapIndex(reflect.ValueOf(name), one)
	}
}

// object decodes the members of one object into several structs that share it.
func (d *decoder) object(at *place, object *hujson.Object, to ...reflect.Value) {
	first := firstOffsets(object)
	for i := range object.Members {
		member := &object.Members[i]
		name := textOf(&member.Name)
		in := &place{up: at, name: name}
		if !d.duplicate(in, member, first[name]) {
			d.member(in, object, member, to)
		}
	}
}

func (d *decoder) member(in *place, object *hujson.Object, member *hujson.ObjectMember, to []reflect.Value) {
	for _, one := range to {
		if f, ok := d.set(one.Type()).byName[in.name]; ok {
			d.value(in, &member.Value, one.FieldByIndex(f.index), f.also)
			return
		}
	}
	known := make(map[string]bool)
	for _, one := range to {
		set := d.set(one.Type())
		if why, ok := set.refused[in.name]; ok {
			d.refuse(in, member, why)
			return
		}
		for name := range set.byName {
			known[name] = true
		}
	}
	d.unknown(in, object, member, slices.Sorted(maps.Keys(known)))
}

func (d *decoder) set(t reflect.Type) *fieldSet {
	set := d.sets[t]
	if set == nil {
		set = fieldsOf(t)
		d.sets[t] = set
	}
	return set
}

// refuse says why a member that sing-box or a later heki knows is not taken. A value that asks for
// nothing is no mistake.
func (d *decoder) refuse(in *place, member *hujson.ObjectMember, why refusal) {
	if inert(&member.Value, why.off) {
		return
	}
	d.fail(in, member.Name.StartOffset, "%s", why.text)
	for _, sibling := range why.excuses {
		d.excused[in.up.path().Key(sibling)] = true
	}
}

func (d *decoder) unknown(in *place, object *hujson.Object, miss *hujson.ObjectMember, known []string) {
	free := slices.DeleteFunc(slices.Clone(known), func(name string) bool { return member(object, name) != nil })
	if near := nearest(in.name, free); near != "" {
		d.fail(in, miss.Name.StartOffset, "is not a known key, did you mean %q?", near)
		d.excused[in.up.path().Key(near)] = true
		return
	}
	if len(known) == 0 {
		d.fail(in, miss.Name.StartOffset, "is not a known key; none is known here")
		return
	}
	d.fail(in, miss.Name.StartOffset, "is not a known key; known here: %s", strings.Join(known, ", "))
}

// firstOffsets says where each name stands first. Objects of structs are small and rarely hold a
// name twice, so the map is made only when one does.
func firstOffsets(object *hujson.Object) map[string]int {
	if len(object.Members) <= 16 && !hasTwins(object) {
		return nil
	}
	first := make(map[string]int, len(object.Members))
	for i := range object.Members {
		name := &object.Members[i].Name
		if _, ok := first[textOf(name)]; !ok {
			first[textOf(name)] = name.StartOffset
		}
	}
	return first
}

func hasTwins(object *hujson.Object) bool {
	for i := range object.Members {
		for j := range i {
			a, _ := object.Members[i].Name.Value.(hujson.Literal)
			b, _ := object.Members[j].Name.Value.(hujson.Literal)
			if string(a) == string(b) || slices.Contains(a, '\\') || slices.Contains(b, '\\') {
				return true
			}
		}
	}
	return false
}

// duplicate notes a name that stands a second time; only the first one is decoded.
func (d *decoder) duplicate(in *place, member *hujson.ObjectMember, first int) bool {
	if first == 0 || first == member.Name.StartOffset { // a name never stands at offset 0
		return false
	}
	file, line, column := d.src.locate(first)
	where := fmt.Sprintf("line %d:%d", line, column)
	if here, _, _ := d.src.locate(member.Name.StartOffset); here != file {
		where = file + " " + where
	}
	d.fail(in, member.Name.StartOffset, "is set twice, first in %s; keep one", where)
	return true
}

func (d *decoder) inbound(at *place, v *hujson.Value, to *Inbound) {
	var options reflect.Value
	d.entry(at, v, reflect.ValueOf(to).Elem(), &inboundKind, func() reflect.Value {
		if to.Options = newInbound(to.Type); to.Options != nil {
			options = reflect.ValueOf(to.Options).Elem()
		}
		return options
	})
}

func (d *decoder) outbound(at *place, v *hujson.Value, to *Outbound) {
	var options reflect.Value
	d.entry(at, v, reflect.ValueOf(to).Elem(), &outboundKind, func() reflect.Value {
		if to.Options = newOutbound(to.Type); to.Options != nil {
			options = reflect.ValueOf(to.Options).Elem()
		}
		return options
	})
}

// entry decodes type and tag into head, and all other members into the options of that type.
func (d *decoder) entry(at *place, v *hujson.Value, head reflect.Value, k *kind, options func() reflect.Value) {
	object, ok := v.Value.(*hujson.Object)
	if !ok {
		d.wrongType(at, v, "an object: { … }")
		d.excused[at.path().Key("type")] = true
		return
	}
	typ := ""
	if m := member(object, "type"); m != nil && m.Value.Kind() == '"' {
		typ = textOf(m)
	}
	head.FieldByName("Type").SetString(typ)
	if to := options(); to.IsValid() {
		d.object(at, object, head, to)
		return
	}
	// Without a type nothing is known about the other members, but the tag may be referred to.
	for _, name := range []string{"type", "tag"} {
		if m := member(object, name); m != nil {
			d.value(&place{up: at, name: name}, m, head.FieldByIndex(d.set(head.Type()).byName[name].index), "")
		}
	}
	if in := (&place{up: at, name: "type"}); !d.excused[in.path()] {
		offset := v.StartOffset
		if m := member(object, "type"); m != nil {
			offset = m.StartOffset
		}
		d.fail(in, offset, "%w", k.missingOr(typ))
	}
}

// missingOr is check, and for an empty name what to write.
func (k *kind) missingOr(typ string) error {
	if typ != "" {
		return k.check(typ)
	}
	return errors.New("is required; served: " + strings.Join(k.served, ", "))
}
