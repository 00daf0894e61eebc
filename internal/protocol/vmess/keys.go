package vmess

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/sha256"

	"heki/internal/protocol/cfb"
)

// UUID identifies a user, in network byte order.
type UUID = [16]byte

// Texts that the protocol mixes into its hashes.
const (
	cmdKeyText  = "c48619fe-8f02-49e0-b9e9-edf763e17e21"
	alterText   = "16167dc8-16b6-4e6d-b8bb-65dd68113a81"
	alterRetry  = "533eff8a-4113-4b10-b5ce-0f5d76b98cd2"
	kdfText     = "VMess AEAD KDF"
	authIDText  = "AES Auth ID Encryption"
	authLenText = "auth_len"

	headerKeyText      = "VMess Header AEAD Key"
	headerNonceText    = "VMess Header AEAD Nonce"
	headerLenKeyText   = "VMess Header AEAD Key_Length"
	headerLenNonceText = "VMess Header AEAD Nonce_Length"

	respKeyText      = "AEAD Resp Header Key"
	respNonceText    = "AEAD Resp Header IV"
	respLenKeyText   = "AEAD Resp Header Len Key"
	respLenNonceText = "AEAD Resp Header Len IV"
)

// CmdKey returns the key from which a user's headers are keyed.
func CmdKey(uuid UUID) (key [16]byte) {
	var b [16 + len(cmdKeyText)]byte
	copy(b[copy(b[:], uuid[:]):], cmdKeyText)
	return md5.Sum(b[:])
}

// AlterID returns the id that follows id in a user's chain of alter ids; the first follows the uuid.
func AlterID(id UUID) UUID {
	b := append(id[:len(id):len(id)], alterText...)
	for {
		if next := md5.Sum(b); next != id {
			return next
		}
		b = append(b, alterRetry...)
	}
}

// kdfBlock is the block size of the hash under the KDF, and so of every level.
const kdfBlock = sha256.BlockSize

// maxPath bounds the elements of a KDF path, and maxElement their length and that of the key in bytes.
const (
	maxPath    = 3
	maxElement = kdfBlock
)

// KDF derives 32 bytes from key: HMAC-SHA256 nested once for every element of path. At most maxPath
// elements, all inputs at most maxElement bytes long.
func KDF(key []byte, path ...string) [32]byte {
	var pads kdfPads
	pads.set(0, kdfText)
	for i, p := range path {
		pads.set(i+1, p)
	}
	return pads.hash(len(path)+1, key)
}

// KDF16 is the first 16 bytes of KDF.
func KDF16(key []byte, path ...string) [16]byte {
	sum := KDF(key, path...)
	return [16]byte(sum[:16])
}

// kdfPads has the two pads of HMAC for each level, the plain hash's first.
type kdfPads struct {
	inner, outer [maxPath + 1][kdfBlock]byte
}

func (p *kdfPads) set(level int, key string) {
	for i := range kdfBlock {
		var k byte
		if i < len(key) {
			k = key[i]
		}
		p.inner[level][i], p.outer[level][i] = k^0x36, k^0x5c
	}
}

// hash is the HMAC of the first levels over msg, each level's hash being the whole level below.
func (p *kdfPads) hash(levels int, msg []byte) [32]byte {
	if levels == 0 {
		return sha256.Sum256(msg)
	}
	var b [(maxPath+1)*kdfBlock + maxElement]byte
	n := copy(b[:], p.inner[levels-1][:])
	n += copy(b[n:], msg)
	sum := p.hash(levels-1, b[:n])
	n = copy(b[:], p.outer[levels-1][:])
	n += copy(b[n:], sum[:])
	return p.hash(levels-1, b[:n])
}

// chachaKey stretches a body key for ChaCha20.
func chachaKey(key [16]byte) []byte {
	b := make([]byte, 0, 32)
	first := md5.Sum(key[:])
	second := md5.Sum(first[:])
	return append(append(b, first[:]...), second[:]...)
}

func newAES(key [16]byte) cipher.Block {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("vmess: " + err.Error()) // never: the key has 16 bytes
	}
	return block
}

func newCFB(key, iv [16]byte) *cfb.Stream { return cfb.New(newAES(key), iv) }

func newGCM(key [16]byte) cipher.AEAD {
	aead, err := cipher.NewGCM(newAES(key))
	if err != nil {
		panic("vmess: " + err.Error()) // never: AES has blocks of 16 bytes
	}
	return aead
}
