package option

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func fullFile(t testing.TB) *Options {
	t.Helper()
	data, err := os.ReadFile("testdata/full.json")
	if err != nil {
		t.Fatal(err)
	}
	o, err := Parse(data)
	if err != nil {
		t.Fatalf("full.json:\n%v", err)
	}
	return o
}

// optionStructs are all structs of the configuration, found from Options and the entries.
func optionStructs() []reflect.Type {
	var found []reflect.Type
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(t.Elem())
		case reflect.Struct:
			if slices.Contains(found, t) {
				return
			}
			found = append(found, t)
			for i := range t.NumField() {
				walk(t.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeFor[Options]())
	for _, typ := range inboundKind.served {
		walk(reflect.TypeOf(newInbound(typ)))
	}
	for _, typ := range outboundKind.served {
		walk(reflect.TypeOf(newOutbound(typ)))
	}
	return found
}

// visit calls f for every field of every struct below v.
func visit(v reflect.Value, at string, f func(at string, owner reflect.Type, name string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			visit(v.Elem(), at, f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			visit(v.Index(i), fmt.Sprintf("%s[%d]", at, i), f)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			visit(v.MapIndex(k), at+"."+k.String(), f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			f(at+"."+name, v.Type(), name, v.Field(i))
			visit(v.Field(i), at+"."+name, f)
		}
	}
}

// A field that full.json cannot set, with the reason.
var notInFullFile = map[string]string{
	"Log.Output":            "stands against dir",
	"Options.Folder":        "is the place of the file, not in it",
	"VMessOutbound.AlterID": "is refused above 0",
}

func TestFullFile(t *testing.T) {
	set := make(map[string]bool)
	visit(reflect.ValueOf(fullFile(t)), "", func(_ string, owner reflect.Type, name string, v reflect.Value) {
		if !v.IsZero() {
			set[owner.Name()+"."+name] = true
		}
	})
	for _, s := range optionStructs() {
		for i := range s.NumField() {
			name := s.Name() + "." + s.Field(i).Name
			if !set[name] && notInFullFile[name] == "" {
				t.Errorf("%s: testdata/full.json does not set it; add it there, and to Validate", name)
			}
		}
	}
}

// Fields for which every value of their type is right.
var anyValue = []string{
	"Options.Schema", "Log.Disabled", "Log.Timestamp",
	"Listen.ReuseAddr", "Listen.TCPFastOpen", "Listen.TCPMultiPath", "Listen.MPTCP",
	"ACME.DisableHTTPChallenge", "ACME.DisableTLSALPNChallenge", "ACME.AlternativeHTTPPort", "ACME.AlternativeTLSPort",
	"TLS.RejectUnknownSNI", "TLS.Enabled", "Multiplex.Enabled", "Multiplex.Padding", "PasswordUser.Password", "Panel.Key",
	"Remote.ServerPort", "RedirectOutbound.ServerPort", "SocksOutbound.Password", "HTTPOutbound.Password", "TrojanOutbound.Password",
	"ClientTLS.Enabled", "ClientTLS.DisableSNI", "ClientTLS.Insecure", "UTLS.Enabled",
	"Dial.RoutingMark", "Dial.TCPFastOpen", "Dial.TCPMultiPath", "Transport.MaxEarlyData",
	"Group.Failover", "VMessOutbound.GlobalPadding", "VMessOutbound.AuthenticatedLength", "Route.SniffRedirect", "Route.ForbidBitTorrent", "Route.ForbidPrivateIP",
	"Reality.Enabled", "Hysteria2.IgnoreClientBandwidth", "Hysteria2Local.MasqueradePort", "Hysteria2Obfs.Password", "Masquerade.RewriteHost", "Masquerade.Content",
	"SSRPort.Password", "SSRPort.ProtocolParam", "SSRPort.ObfsParam", "SSRUser.Password", "SSRUser.ProtocolParam", "SSRUser.ObfsParam",
	"SSRSharing.MuRegex", "SSRSharing.MuSuffix", "SSRSharing.CIDLimit", "SSRSharing.ObfsUDP", "SSRExtraPort.ListenPort", "SSRUser.ListenPort",
	"Listen.ListenPort", "Server.ServerPort", "RealityTarget.ServerPort", // but 0, which TestMessages has
}

// Every field is checked by some Validate: a value that cannot be right is noticed.
func TestEveryFieldIsValidated(t *testing.T) {
	checked := make(map[string]bool)
	var names []string
	visit(reflect.ValueOf(fullFile(t)), "", func(at string, _ reflect.Type, _ string, _ reflect.Value) {
		names = append(names, at)
	})
	for _, want := range names {
		o := fullFile(t)
		label := ""
		visit(reflect.ValueOf(o), "", func(at string, owner reflect.Type, name string, v reflect.Value) {
			if at == want && v.CanSet() && spoil(v) {
				label = owner.Name() + "." + name
			}
		})
		if label != "" && o.Validate("") != nil {
			checked[label] = true
		}
	}
	for _, s := range optionStructs() {
		for i := range s.NumField() {
			f := s.Field(i)
			name := s.Name() + "." + f.Name
			if !spoil(reflect.New(f.Type).Elem()) || slices.Contains(anyValue, name) || notInFullFile[name] != "" || checked[name] {
				continue
			}
			t.Errorf("%s: no Validate notices a value that cannot be right; check it, or list it in anyValue", name)
		}
	}
}

// spoil sets a value that no field with bounds takes. It reports false for what holds fields itself.
func spoil(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		v.SetString("\x00 no/../\r\nsuch thing anywhere in the world")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(math.MinInt32)
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(math.MaxUint16)
	case reflect.Float64:
		v.SetFloat(math.NaN())
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.String {
			return false
		}
		one := reflect.New(v.Type().Elem()).Elem()
		one.SetString(" \r\n")
		v.Set(reflect.Append(reflect.MakeSlice(v.Type(), 0, 1), one))
	default:
		return false
	}
	return true
}

// Every kind of field can be decoded: null aside, no value makes the decoder give up on the type.
func TestFieldKinds(t *testing.T) {
	for _, s := range optionStructs() {
		for name := range fieldsOf(s).byName {
			for _, value := range []string{`"x"`, `1`, `true`, `{}`, `[]`} {
				doc := fmt.Sprintf("{%q: %s}", name, value)
				src := newSource("", 0, []byte(doc))
				root, m := parseTree(src)
				if m != nil {
					t.Fatal(m)
				}
				d := newDecoder(sources{src})
				d.value(nil, root, reflect.New(s).Elem(), "")
				if len(d.mistakes) > 0 && strings.Contains(d.mistakes.Error(), "does not know how") {
					t.Errorf("%s: %v", s, d.mistakes)
				}
			}
		}
	}
}

// No refused name is also a field: the refusal would never be said.
func TestRefusalsAreNoFields(t *testing.T) {
	for _, s := range optionStructs() {
		set := fieldsOf(s)
		for name, why := range refusals(s) { // what it embeds may refuse what it has itself
			if _, ok := set.byName[name]; ok {
				t.Errorf("%s: %s is both a field and refused", s.Name(), name)
			}
			if why.text == "" {
				t.Errorf("%s: %s is refused without a reason", s.Name(), name)
			}
		}
	}
}

func TestValidateTwice(t *testing.T) {
	once, twice := fullFile(t), fullFile(t)
	if err := twice.Validate(""); err != nil {
		t.Fatalf("validated again: %v", err)
	}
	if !reflect.DeepEqual(once, twice) {
		t.Errorf("a second Validate changed the options:\n got %+v\nwant %+v", twice, once)
	}
}

func TestMarshalAndParse(t *testing.T) {
	want := fullFile(t)
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("not the same after a round trip:\n got %+v\nwant %+v", got, want)
	}
}
