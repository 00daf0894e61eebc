package obfs

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"heki/internal/protocol/ssr/ssrtest"
)

// FuzzServer: what comes out does not depend on the parts that it came in.
func FuzzServer(f *testing.F) {
	for i, name := range Names() {
		f.Add(byte(i), 7, append(firstFlight(f, name), "\x17\x03\x03\x00\x02ab"...))
	}
	all := ssrtest.Load(f)
	for _, v := range append(all.Obfs, all.SimpleObfs...) {
		f.Add(byte(3), 5, []byte(v.Steps[0].Wire))
	}
	f.Fuzz(func(t *testing.T, which byte, step int, in []byte) {
		if len(in) > MaxHello {
			return
		}
		spec := specs[int(which)%len(specs)]
		run := func(n int) ([]byte, error) {
			var left []byte
			s := NewServer(spec, bytes.Repeat([]byte{1}, 32), "").Accept(&gate{now: time.Unix(1_700_000_000, 0)}, rand.Reader)
			return drain(s, &left, in, n)
		}
		one, err1 := run(len(in) + 1)
		two, err2 := run(1 + max(step, 0)%50)
		if !bytes.Equal(one, two) || (err1 == nil) != (err2 == nil) {
			t.Errorf("%s: whole %q, %v; in parts %q, %v", spec.Name, one, err1, two, err2)
		}
	})
}

// FuzzClient is the same for what a server sends.
func FuzzClient(f *testing.F) {
	for i, name := range Names() {
		_, server, _ := newPair(f, name, make([]byte, 50))
		f.Add(byte(i), 7, server.Close(append(server.Open(nil), "hello"...), 0))
	}
	f.Fuzz(func(t *testing.T, which byte, step int, in []byte) {
		if len(in) > MaxHello {
			return
		}
		spec := specs[int(which)%len(specs)]
		run := func(n int) ([]byte, error) {
			var left []byte
			c := (&Client{Spec: spec, Key: bytes.Repeat([]byte{1}, 32)}).Begin(rand.Reader)
			return drain(c, &left, in, n)
		}
		one, err1 := run(len(in) + 1)
		two, err2 := run(1 + max(step, 0)%50)
		if !bytes.Equal(one, two) || (err1 == nil) != (err2 == nil) {
			t.Errorf("%s: whole %q, %v; in parts %q, %v", spec.Name, one, err1, two, err2)
		}
	})
}
