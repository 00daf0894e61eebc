package reality

import (
	"bytes"
	"crypto/ecdh"
	"errors"
	"testing"

	utls "github.com/metacubex/utls"
)

func testPrivate(t testing.TB) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdh.X25519().NewPrivateKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// fragment puts the message of a record into records of n bytes.
func fragment(record []byte, n int) []byte {
	var out []byte
	for rest := record[recordHeader:]; len(rest) > 0; {
		part := rest[:min(n, len(rest))]
		rest = rest[len(part):]
		out = append(append(out, 22, 3, 1, byte(len(part)>>8), byte(len(part))), part...)
	}
	return out
}

func TestParseHello(t *testing.T) {
	hello := helloOf(t, user{})
	for _, in := range [][]byte{hello, fragment(hello, 100), append(bytes.Clone(hello), "more"...)} {
		msg, n, err := parseHello(in)
		if err != nil || !bytes.Equal(msg, hello[recordHeader:]) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		for i := range n {
			if _, _, err := parseHello(in[:i]); !errors.Is(err, errShort) {
				t.Fatalf("prefix of %d bytes: %v", i, err)
			}
		}
	}
	for name, in := range map[string][]byte{
		"many records":     fragment(hello, 10),
		"two messages":     append(append([]byte{22, 3, 1, 0, 8}, 1, 0, 0, 0), 1, 0, 0, 0),
		"long message":     {22, 3, 1, 0, 4, 1, 1, 0, 0},
		"other message":    {22, 3, 1, 0, 4, 2, 0, 0, 0},
		"other record":     {23},
		"other version":    {22, 2},
		"empty record":     {22, 3, 1, 0, 0},
		"too large record": {22, 3, 1, 0x40, 1},
	} {
		if _, _, err := parseHello(in); !errors.Is(err, errNoHello) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestShares(t *testing.T) {
	good := utls.KeyShare{Group: utls.X25519, Data: bytes.Repeat([]byte{9}, 32)}
	for _, tt := range []struct {
		name string
		list []utls.KeyShare
		err  error
	}{
		{"one", []utls.KeyShare{good}, nil},
		{"beside others", []utls.KeyShare{{Group: 0x1a1a, Data: []byte{0}}, good, {Group: utls.CurveP256, Data: []byte{1}}}, nil},
		{"none", nil, errNoShare},
		{"twice", []utls.KeyShare{good, good}, errNoShare},
		{"short", []utls.KeyShare{{Group: utls.X25519, Data: []byte{1}}}, errNoShare},
		{"short post-quantum", []utls.KeyShare{good, {Group: utls.X25519MLKEM768, Data: make([]byte, 1215)}}, errNoShare},
		{"wrong post-quantum", []utls.KeyShare{good, {Group: utls.X25519MLKEM768, Data: bytes.Repeat([]byte{255}, 1216)}}, errNoShare},
	} {
		if _, _, err := shares(tt.list); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	key := testPrivate(f)
	names := map[string]bool{serverName: true}
	for _, id := range []utls.ClientHelloID{utls.HelloChrome_Auto, utls.HelloFirefox_Auto, utls.HelloSafari_Auto} {
		hello := helloOf(f, user{id: id})
		f.Add(hello)
		f.Add(fragment(hello, 300))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		msg, n, err := parseHello(in)
		if err != nil {
			return
		}
		if n > len(in) || len(msg) > n || len(msg) < messageHeader {
			t.Fatalf("%d bytes of %d make a message of %d", n, len(in), len(msg))
		}
		kept := bytes.Clone(msg)
		a, err := open(msg, key, names)
		if !bytes.Equal(msg, kept) {
			t.Error("the message was changed")
		}
		if err != nil {
			return
		}
		msg = bytes.Clone(msg)
		msg[len(msg)-1] ^= 1 // every byte is authenticated
		if b, err := open(msg, key, names); err == nil {
			t.Errorf("%+v and %+v", a, b)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	hello := helloOf(b, user{})
	key := testPrivate(b)
	names := map[string]bool{serverName: true}
	b.ReportAllocs()
	for b.Loop() {
		msg, _, err := parseHello(hello)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := open(msg, key, names); err != nil {
			b.Fatal(err)
		}
	}
}
