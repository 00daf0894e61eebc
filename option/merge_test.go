package option

import (
	"fmt"
	"reflect"
	"testing"
)

// fill sets every field below v to something; n makes two fills differ.
func fill(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text", n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(n))
	case reflect.Float64:
		v.SetFloat(float64(n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n+i)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value, n)
		v.SetMapIndex(reflect.ValueOf("name"), value)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		panic("fill: " + v.Type().String())
	}
}

func filled(n int) Stream {
	var s Stream
	fill(reflect.ValueOf(&s).Elem(), n)
	return s
}

func TestMergeStream(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		node, defaults, want Stream
	}{
		{"defaults alone", Stream{}, filled(1), filled(1)},
		{"node alone", filled(1), Stream{}, filled(1)},
		{"node wins", filled(1), filled(5), filled(1)},
		{"nothing", Stream{}, Stream{}, Stream{}},
		{
			"a certificate stays with its key",
			Stream{TLS: &TLS{CertificatePath: "c", KeyPath: "k"}},
			Stream{TLS: &TLS{Certificate: []string{"C"}, Key: []string{"K"}, MinVersion: "1.2"}},
			Stream{TLS: &TLS{CertificatePath: "c", KeyPath: "k", MinVersion: "1.2"}},
		},
		{
			"limits part by part",
			Stream{Limits: &Limits{UserIPs: 1}},
			Stream{Limits: &Limits{UserIPs: 2, UserConns: 3}},
			Stream{Limits: &Limits{UserIPs: 1, UserConns: 3}},
		},
		{
			"fallbacks by ALPN",
			Stream{FallbackForALPN: map[string]Server{"h2": {"a", 1}}},
			Stream{FallbackForALPN: map[string]Server{"h2": {"b", 2}, "x": {"c", 3}}},
			Stream{FallbackForALPN: map[string]Server{"h2": {"a", 1}, "x": {"c", 3}}},
		},
		{
			"fallbacks by path",
			Stream{FallbackForPath: map[string]Server{"/": {"a", 1}}},
			Stream{FallbackForPath: map[string]Server{"/": {"b", 2}, "/x": {"c", 3}}},
			Stream{FallbackForPath: map[string]Server{"/": {"a", 1}, "/x": {"c", 3}}},
		},
	} {
		if got := MergeStream(tt.node, tt.defaults); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
}

// What a panel writes into a node's settings must not reach those of another node.
func TestMergeStreamSharesNothing(t *testing.T) {
	node, defaults := filled(1), filled(2)
	spoilAll := func(s Stream) {
		visit(reflect.ValueOf(&s), "", func(_ string, _ reflect.Type, _ string, v reflect.Value) {
			switch v.Kind() {
			case reflect.Slice:
				if v.Len() == 0 { // spoiled with what holds it
					return
				}
				v.Index(0).Set(reflect.Zero(v.Type().Elem()))
			case reflect.Pointer:
				v.Elem().Field(0).SetZero()
			case reflect.Map:
				v.SetMapIndex(reflect.ValueOf("other"), reflect.Zero(v.Type().Elem()))
			}
		})
		for _, values := range s.Transport.Headers {
			if len(values) > 0 {
				values[0] = "spoiled"
			}
		}
	}
	spoilAll(MergeStream(node, Stream{}))
	spoilAll(MergeStream(Stream{}, defaults))
	if !reflect.DeepEqual(node, filled(1)) || !reflect.DeepEqual(defaults, filled(2)) {
		t.Error("the result shares memory with its sources")
	}
}

func TestMergeLimits(t *testing.T) {
	var outer, inner Limits
	fill(reflect.ValueOf(&outer).Elem(), 1)
	fill(reflect.ValueOf(&inner).Elem(), 2)
	if got := MergeLimits(&outer, &inner); got != inner {
		t.Errorf("inner does not win: %+v", got)
	}
	if got := MergeLimits(&outer, nil); got != outer {
		t.Errorf("outer is lost: %+v", got)
	}
	if got := MergeLimits(nil, nil); got != (Limits{}) {
		t.Errorf("nothing became %+v", got)
	}
}
