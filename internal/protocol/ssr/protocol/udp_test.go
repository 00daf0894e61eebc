package protocol

import (
	"bytes"
	"slices"
	"testing"

	"heki/internal/protocol/ssr/cipher"
	"heki/internal/protocol/ssr/ssrtest"
)

func TestUDP(t *testing.T) {
	for _, v := range ssrtest.Load(t).UDP {
		t.Run(v.Name, func(t *testing.T) {
			m, _ := cipher.ByName(v.Method)
			sp := spec(t, v.Protocol)
			seal, forms := m.Datagrams(v.Key), NewPort(sp, v.Key, 0, 0).Datagrams()
			user := []byte(v.Key)
			if v.UserPassword != nil {
				user = sp.UserKey(*v.UserPassword)
			}
			for i, p := range v.Packets {
				var uid uint32
				who := func(id uint32) ([]byte, bool) { uid = id; return user, v.UID == nil || *v.UID == id }
				b := open(t, seal, p.ToServerWire)
				got, id, err := forms.OpenClient(bytes.Clone(b), who)
				if err != nil || !p.ToServer.Matches(got) || id != uid {
					t.Fatalf("packet %d: %d bytes, %v", i, len(got), err)
				}
				again := forms.AppendClient(roomy(got), uid, user, drawn(b, len(got), chainAsk))
				if !bytes.Equal(again, b) {
					t.Errorf("packet %d: made %x, want %x", i, again, b)
				}
				for n := range b {
					if _, _, err := forms.OpenClient(bytes.Clone(b[:n]), who); err == nil && v.Protocol[:6] == "auth_a" {
						t.Fatalf("packet %d: %d of %d bytes are one", i, n, len(b))
					}
				}
				b = open(t, seal, p.ToClientWire)
				got, err = forms.OpenServer(bytes.Clone(b), user)
				if err != nil || !p.ToClient.Matches(got) {
					t.Fatalf("answer %d: %d bytes, %v", i, len(got), err)
				}
				again = forms.AppendServer(roomy(got), user, drawn(b, len(got), chainReply))
				if !bytes.Equal(again, b) {
					t.Errorf("answer %d: made %x, want %x", i, again, b)
				}
			}
		})
	}
}

func open(t *testing.T, d *cipher.Datagrams, b []byte) []byte {
	t.Helper()
	b, err := d.Open(bytes.Clone(b))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// drawn is the randomness of a chain's datagram with n bytes of payload: A, then the padding.
func drawn(b []byte, n, a int) *bytes.Reader {
	at := len(b) - chainTail
	if at < n {
		return bytes.NewReader(nil) // not a chain's: nothing is drawn
	}
	return bytes.NewReader(slices.Concat(b[at:at+a], b[n:at]))
}

// roomy is a copy of b with room for what a datagram adds.
func roomy(b []byte) []byte { return append(make([]byte, 0, len(b)+200), b...) }
