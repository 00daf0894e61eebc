package shadowsocks

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"testing"
)

func TestSHA1State(t *testing.T) {
	s := newSchedule()
	var block [blockSize]byte
	copy(block[:], "abc\x80")
	block[blockSize-1] = 24
	s.sha.Reset()
	s.save(&s.state, block[:])
	want := sha1.Sum([]byte("abc"))
	if got := s.state[wordsAt : wordsAt+sumSize]; !bytes.Equal(got, want[:]) {
		t.Errorf("the words of the state are %x, want %x", got, want)
	}
	if b, err := s.sha.AppendBinary(nil); err != nil || len(b) != stateSize {
		t.Errorf("a state has %d bytes, %v; want %d", len(b), err, stateSize)
	}
}

func TestKey(t *testing.T) {
	for _, tt := range []struct {
		m              Method
		password, want string
	}{ // from: openssl enc -aes-…-cbc -k … -nosalt -md md5 -P
		{AES128GCM, "password", "5f4dcc3b5aa765d61d8327deb882cf99"},
		{AES192GCM, "password", "5f4dcc3b5aa765d61d8327deb882cf992b95990a9151374a"},
		{AES256GCM, "password", "5f4dcc3b5aa765d61d8327deb882cf992b95990a9151374abd8ff8c5a7a0fe08"},
	} {
		if got := hex.EncodeToString(NewKey(tt.m, tt.password).Bytes()); got != tt.want {
			t.Errorf("%s: key %s, want %s", tt.m, got, tt.want)
		}
	}
}

func TestSubkey(t *testing.T) {
	s := newSchedule()
	for m := AES128GCM; m <= XChaCha20Poly1305; m++ {
		for i := range 20 {
			salt := bytes.Repeat([]byte{byte(i)}, m.KeySize())
			s.setSalt(salt)
			for _, password := range []string{"", "a", fmt.Sprint("long", i, salt)} {
				k := NewKey(m, password)
				want, err := hkdf.Key(sha1.New, k.Bytes(), salt, info, m.KeySize())
				if got := s.subkey(k); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%s, salt %x, password %q: %x, want %x", m, salt, password, got, want)
				}
			}
		}
	}
}

func BenchmarkSubkey(b *testing.B) {
	for _, m := range []Method{AES128GCM, AES192GCM, AES256GCM} {
		b.Run(m.String(), func(b *testing.B) {
			s, k := newSchedule(), NewKey(m, "password")
			s.setSalt(make([]byte, m.KeySize()))
			b.ReportAllocs()
			for b.Loop() {
				s.subkey(k)
			}
		})
	}
}
