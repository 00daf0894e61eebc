package vmess

import (
	"crypto/sha3"
	"encoding/hex"
	"strings"
	"testing"
)

// Protocols.md, Appendix B.
func TestKeys(t *testing.T) {
	cmdKey := CmdKey(goldenUUID)
	block := NewAuthIDCipher(cmdKey)
	alter1 := AlterID(goldenUUID)
	alter2 := AlterID(alter1)
	k := [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	authKey := KDF16(cmdKey[:], authIDText)
	kdf := KDF(cmdKey[:], headerKeyText, strings.Repeat("\xaa", 16), strings.Repeat("\xbb", 8))
	authLen := KDF16(k[:], authLenText)
	s := Session{Request: Request{Key: k, IV: k}}
	respKey, _ := s.responseKeys()
	respLenKey := KDF16(respKey[:], respLenKeyText)
	authID := SealAuthID(block, 1700000000, [4]byte{1, 2, 3, 4})
	var legacy1, legacyMain [16]byte
	NewLegacyID(alter1).Auth(1700000000, &legacy1)
	NewLegacyID(goldenUUID).Auth(1700000000, &legacyMain)
	iv := legacyIV(1700000000)
	var shake [8]byte
	sponge := sha3.NewSHAKE128()
	_, _ = sponge.Write(k[:])
	_, _ = sponge.Read(shake[:])
	for _, tt := range []struct {
		name string
		got  []byte
		want string
	}{
		{"cmdKey", cmdKey[:], "81757e37f9668a8e7700d11ee834ede0"},
		{"auth id key", authKey[:], "814e1b82ddfb25aa9f3b94fbcdeba710"},
		{"KDF", kdf[:], "c27e7346e9f618c2028e23dc027a6372770e445a45c150efd874cadd8f9d5d20"},
		{"auth id", authID[:], "6ef707dd9ca5acd4fa86d785029a4f34"},
		{"alter id 1", alter1[:], "545b50ec11b76ed4d9dd09bb0b863af7"},
		{"alter id 2", alter2[:], "7b6f4fab105371bba09755254bb675f2"},
		{"legacy auth, alter id 1", legacy1[:], "eaf2c93fef2667997c0e1aedc7b99e27"},
		{"legacy auth, main id", legacyMain[:], "a906b6bf936720be548b26bfc17866f5"},
		{"legacy IV", iv[:], "7a29d7bdc972aaefb1f54e5205589e78"},
		{"chacha key", chachaKey(k), "1ac1ef01e96caf1be0d329331a4fc2a8e0542db5418c43d256a6a643afa553fe"},
		{"auth_len", authLen[:], "1dccf11d87f6b6c6ffbaa5b90794383c"},
		{"response key", respKey[:], "be45cb2605bf36bebde684841a28f0fd"},
		{"response length key", respLenKey[:], "4847a079a0e064a2883d821faced423a"},
		{"SHAKE128", shake[:], "98481946de85c670"},
	} {
		if got := hex.EncodeToString(tt.got); got != tt.want {
			t.Errorf("%s = %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := fnv1a([]byte("hello")); got != 0x4f9f2cab {
		t.Errorf("FNV-1a = %08x", got)
	}
}

func TestOpenAuthID(t *testing.T) {
	block, other := NewAuthIDCipher(CmdKey(goldenUUID)), NewAuthIDCipher(CmdKey(AlterID(goldenUUID)))
	var plain [AuthIDSize]byte
	id := SealAuthID(block, 1700000000, [4]byte{9})
	if unix, ok := OpenAuthID(block, id[:], &plain); !ok || unix != 1700000000 {
		t.Errorf("%d, %v", unix, ok)
	}
	if _, ok := OpenAuthID(other, id[:], &plain); ok {
		t.Error("another user's auth id opens")
	}
	for i := range 128 {
		bad := id
		bad[i/8] ^= 1 << (i % 8)
		if _, ok := OpenAuthID(block, bad[:], &plain); ok {
			t.Errorf("opens with bit %d flipped", i)
		}
	}
	for _, unix := range []int64{-1, 1 << 32, 1 << 40} {
		id := SealAuthID(block, unix, [4]byte{})
		if _, ok := OpenAuthID(block, id[:], &plain); ok {
			t.Errorf("time %d is taken", unix)
		}
	}
	if n := testing.AllocsPerRun(100, func() { OpenAuthID(block, id[:], &plain) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
