package shadowsocks

import (
	"encoding/binary"
	"testing"
)

// start is a stream of k whose chunks are those.
func start(m Method, k *Key, chunks ...string) []byte {
	salt := random(m.KeySize())
	half := m.newHalf(k, salt)
	for _, c := range chunks {
		salt = half.Seal(salt, binary.BigEndian.AppendUint16(nil, uint16(len(c))))
		salt = half.Seal(salt, []byte(c))
	}
	return salt
}

// What is there behind the first length decides nothing for who begins as clients do.
func TestTryStream(t *testing.T) {
	for _, m := range methods() {
		k, other, trial := NewKey(m, "password"), NewKey(m, "another"), NewTrial(m)
		for name, chunks := range map[string][]string{
			"IPv4":            {"\x01\x01\x02\x03\x04\x00\x35hello"},
			"host":            {"\x03\x01a\x00\x35"},
			"IPv6":            {"\x04\x20\x01", "\x0d"},
			"an empty chunk":  {"", "\x01\x01\x02\x03\x04\x00\x35"},
			"nothing but one": {""},
		} {
			whole := start(m, k, chunks...)
			for n := m.StreamHead(); n <= len(whole); n++ {
				trial.BeginStream(whole[:n])
				if _, _, ok := trial.Try(other); ok {
					t.Fatalf("%s: %s: another key is taken", m, name)
				}
				if aead, _, ok := trial.Try(k); !ok || aead == nil {
					t.Fatalf("%s: %s: %d bytes: the key is not taken", m, name, n)
				}
			}
		}
		whole := start(m, k, "no address")
		trial.BeginStream(whole)
		if _, _, ok := trial.Try(k); ok {
			t.Errorf("%s: a stream without an address is somebody's", m)
		}
	}
}
