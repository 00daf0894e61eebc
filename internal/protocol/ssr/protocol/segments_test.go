package protocol

import (
	"bytes"
	"errors"
	"testing"

	"heki/internal/protocol/wire"
)

// TestSegments feeds the client's stream byte by byte: every prefix asks for more and changes nothing.
func TestSegments(t *testing.T) {
	for _, v := range sessions(t) {
		if v.Protocol == "origin" {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			var a Accepted
			var plain, b []byte
			for i, step := range v.Steps {
				if step.Dir != "c2s" {
					continue
				}
				for _, c := range v.wire[i] {
					b = append(b, c)
					if a.Decoder == nil {
						before := bytes.Clone(b)
						got, err := v.port.Accept(Session{IV: v.ClientIV}, b, v.who)
						if errors.Is(err, wire.ErrShort) && bytes.Equal(b, before) {
							continue
						}
						if err != nil {
							t.Fatalf("%d bytes: %v", len(b), err)
						}
						a = got
						plain, b = append(plain, b[:a.Payload]...), b[a.Used:]
						continue
					}
					n, used, _, err := a.Decoder.Decode(b)
					if err != nil {
						t.Fatal(err)
					}
					plain, b = append(plain, b[:n]...), b[used:]
				}
				if !step.Plain.Matches(plain) {
					t.Fatalf("step %d: %d bytes, want %d", i, len(plain), step.Plain.Len)
				}
				plain = nil
			}
		})
	}
}
