package vmess

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"hash"
	"hash/crc32"
)

// AuthIDSize is the length in bytes of what a request begins with, in both ways.
const AuthIDSize = 16

// NewAuthIDCipher returns the cipher of a user's auth ids. It may be used by many goroutines.
func NewAuthIDCipher(cmdKey [16]byte) cipher.Block {
	return newAES(KDF16(cmdKey[:], authIDText))
}

// SealAuthID returns the auth id of AEAD requests: one AES block.
//
//	| unix seconds u64be | random 4 | CRC-32 (IEEE) of the 12 before |
func SealAuthID(block cipher.Block, unix int64, random [4]byte) (id [AuthIDSize]byte) {
	binary.BigEndian.PutUint64(id[:], uint64(unix))
	copy(id[8:], random[:])
	binary.BigEndian.PutUint32(id[12:], crc32.ChecksumIEEE(id[:12]))
	block.Encrypt(id[:], id[:])
	return id
}

// OpenAuthID tells whether id is one of the user whose cipher block is, and when it was made. id has
// AuthIDSize bytes; plain is scratch, the caller's because an array of our own would be allocated for
// every user tried. Times beyond the year 2106 count as another user's: looking at the four zero bytes
// first spares nearly all checksums.
func OpenAuthID(block cipher.Block, id []byte, plain *[AuthIDSize]byte) (unix int64, ok bool) {
	block.Decrypt(plain[:], id)
	if binary.BigEndian.Uint32(plain[:]) != 0 {
		return 0, false
	}
	if crc32.ChecksumIEEE(plain[:12]) != binary.BigEndian.Uint32(plain[12:]) {
		return 0, false
	}
	return int64(binary.BigEndian.Uint32(plain[4:])), true
}

// LegacyID makes the legacy auth ids of one id: a uuid or one of its alter ids. It is for one
// goroutine at a time.
type LegacyID struct {
	mac hash.Hash
	msg [8]byte
}

// NewLegacyID returns the maker for id.
func NewLegacyID(id UUID) *LegacyID { return &LegacyID{mac: hmac.New(md5.New, id[:])} }

// Auth writes the auth id of a second to sum: HMAC-MD5 of u64be unix seconds. It does not allocate
// after the first one.
func (l *LegacyID) Auth(unix int64, sum *[AuthIDSize]byte) {
	binary.BigEndian.PutUint64(l.msg[:], uint64(unix))
	l.mac.Reset()
	l.mac.Write(l.msg[:])
	l.mac.Sum(sum[:0])
}

// legacyIV is the IV of a legacy header: the time is all that it depends on.
func legacyIV(unix int64) [16]byte {
	var b [32]byte
	for i := 0; i < len(b); i += 8 {
		binary.BigEndian.PutUint64(b[i:], uint64(unix))
	}
	return md5.Sum(b[:])
}
