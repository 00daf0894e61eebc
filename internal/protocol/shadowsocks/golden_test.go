package shadowsocks

import (
	"io"
	"strings"
	"testing"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire/wiretest"
)

func TestGolden(t *testing.T) {
	for _, m := range []Method{AES128GCM, AES192GCM, AES256GCM, ChaCha20Poly1305} {
		k := NewKey(m, "password")
		c := accept(t, wiretest.New(strings.NewReader(wiretest.Vector(t, "shadowsocks", "sing-stream-"+m.String()))), m, k)
		got, err := io.ReadAll(c)
		dst, n, _ := address.ParseS(got, "")
		if err != nil || dst.String() != "example.com:443" || string(got[n:]) != "hellomore" {
			t.Errorf("%s: %q, %v", m, got, err)
		}
		plain, err := NewTrial(m).OpenPacket([]byte(wiretest.Vector(t, "shadowsocks", "sing-packet-"+m.String())), k)
		if err != nil {
			t.Fatal(err)
		}
		dst, n, err = ParsePacket(plain, "")
		if err != nil || dst.String() != "1.2.3.4:53" || string(plain[n:]) != "query" {
			t.Errorf("%s: %q, %v", m, plain, err)
		}
	}
}
