package ss2022

import (
	"io"
	"strings"
	"testing"

	"heki/internal/protocol/wire/wiretest"
)

// goldenTime is the clock of the vectors.
const goldenTime = 1795378080

func TestGolden(t *testing.T) {
	const short, long = "MjQ5MjBkZWNmODNmNjk2MA==", "MjQ5MjBkZWNmODNmNjk2MGI4MGY3MzdhMjhlZWFmYzE="
	for m, keys := range map[Method][2]string{
		AES128GCM:        {short, "YjgzMTM4MWQtNjMyNC00ZA=="},
		AES256GCM:        {long, "YjgzMTM4MWQtNjMyNC00ZDUzLWFkNGYtOGNkYTQ4YjM="},
		ChaCha20Poly1305: {long, long},
	} {
		serverKey, err1 := ParseKey(m, keys[0])
		key, err2 := ParseKey(m, keys[1])
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		b := []byte(wiretest.Vector(t, "ss2022", "sing-stream-"+m.String()))
		if m.MultiUser() && Identify(m, serverKey, b) != HashOf(key) {
			t.Errorf("%s: another identity", m)
		}
		r, n, err := OpenRequest(m, key, b, m.MultiUser())
		if err != nil || r.Unix != goldenTime {
			t.Fatalf("%s: %+v, %v", m, r, err)
		}
		c := NewServerConn(wiretest.New(strings.NewReader(string(b[n:]))), m, key, r, random(m.KeySize()), clock, nil)
		dst, err := ReadVariable(c)
		if err != nil || dst.String() != "example.com:443" {
			t.Fatalf("%s: %s, %v", m, dst, err)
		}
		if got, err := io.ReadAll(c); err != nil || string(got) != "hellomore" {
			t.Errorf("%s: %q, %v", m, got, err)
		}
		goldenPacket(t, m, serverKey, key)
	}
}

func goldenPacket(t *testing.T, m Method, serverKey, key []byte) {
	t.Helper()
	k := NewPacketKey(m, serverKey, m.MultiUser())
	var p Packet
	if err := p.OpenHeader(k, []byte(wiretest.Vector(t, "ss2022", "sing-packet-"+m.String()))); err != nil {
		t.Fatal(err)
	}
	if m.MultiUser() && p.Hash != HashOf(key) {
		t.Errorf("%s: a datagram of another identity", m)
	}
	plain, err := p.Open(k.SessionCipher(key, p.Session))
	if err != nil {
		t.Fatalf("%s: %v", m, err)
	}
	body, n, err := ParseBody(plain, false, "")
	if err != nil || body.Unix != goldenTime || body.Address.String() != "1.2.3.4:53" || string(plain[n:]) != "query" {
		t.Errorf("%s: %+v, %v", m, body, err)
	}
}
