package cfb

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"testing"
)

// NIST SP 800-38A F.3.13, CFB128-AES128.
const (
	key   = "2b7e151628aed2a6abf7158809cf4f3c"
	iv    = "000102030405060708090a0b0c0d0e0f"
	plain = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
	coded = "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b26751f67a3cbb140b1808cf187a4f4dfc04b05357c5d1c0eeac4c66f9ff7f2e6"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func stream(t testing.TB) *Stream {
	block, err := aes.NewCipher(unhex(t, key))
	if err != nil {
		t.Fatal(err)
	}
	return New(block, [16]byte(unhex(t, iv)))
}

func TestVectors(t *testing.T) {
	in, want := unhex(t, plain), unhex(t, coded)
	for cut := range len(in) {
		enc, dec := stream(t), stream(t)
		got := make([]byte, len(in))
		enc.Encrypt(got, in[:cut])
		enc.Encrypt(got[cut:], in[cut:])
		if !bytes.Equal(got, want) {
			t.Fatalf("cut at %d: %x", cut, got)
		}
		dec.Decrypt(got, got[:cut])
		dec.Decrypt(got[cut:], got[cut:])
		if !bytes.Equal(got, in) {
			t.Fatalf("cut at %d: decrypted %x", cut, got)
		}
	}
}

func BenchmarkDecrypt(b *testing.B) {
	s, p := stream(b), make([]byte, 16<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		s.Decrypt(p, p)
	}
}
