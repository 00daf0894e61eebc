package vmess

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
)

// tagSize is the tag of both AEADs in bytes.
const tagSize = 16

// Sizes of an AEAD request in bytes.
const (
	nonceSize   = 8
	lengthSize  = 2
	sealedFront = AuthIDSize + lengthSize + tagSize + nonceSize

	// MaxRequest bounds a request header on the wire.
	MaxRequest = sealedFront + maxHeader + tagSize
)

// OpenRequest decodes the AEAD request at the start of b, whose auth id is of the user with cmdKey,
// and returns its length in bytes; what follows in b is the body. It keeps no reference to b.
//
// While b is only a prefix of a request the error is ErrShort: read more and call again. Every other
// error wraps ErrBadRequest and is final.
//
//	| auth id 16 | sealed length 2+16 | nonce 8 | sealed header length+16 | body ... |
func OpenRequest(b []byte, cmdKey [16]byte) (req Request, n int, err error) {
	if len(b) < sealedFront {
		return Request{}, 0, ErrShort
	}
	id, nonce := string(b[:AuthIDSize]), string(b[sealedFront-nonceSize:sealedFront])
	var plain [maxHeader]byte
	aead, iv := requestAEAD(cmdKey, headerLenKeyText, headerLenNonceText, id, nonce)
	length, err := aead.Open(plain[:0], iv[:], b[AuthIDSize:sealedFront-nonceSize], b[:AuthIDSize])
	if err != nil {
		return Request{}, 0, errSealed
	}
	size := int(binary.BigEndian.Uint16(length))
	if size < minHeader || size > maxHeader {
		return Request{}, 0, errLength
	}
	n = sealedFront + size + tagSize
	if len(b) < n {
		return Request{}, 0, ErrShort
	}
	aead, iv = requestAEAD(cmdKey, headerKeyText, headerNonceText, id, nonce)
	header, err := aead.Open(plain[:0], iv[:], b[sealedFront:n], b[:AuthIDSize])
	if err != nil {
		return Request{}, 0, errSealed
	}
	req, used, err := ParseHeader(header)
	switch {
	case errors.Is(err, ErrShort): // whole, as it says: more bytes do not mend it
		return Request{}, 0, errLength
	case err != nil:
		return Request{}, 0, err
	case used != size:
		return Request{}, 0, errTrailing
	}
	return req, n, nil
}

// SealRequest appends an AEAD request to b. id is from SealAuthID with the time and a cipher of the
// same cmdKey; nonce and padding are random, padding of at least req.Padding bytes.
func SealRequest(b []byte, cmdKey [16]byte, id [AuthIDSize]byte, nonce [nonceSize]byte, req Request, padding []byte) []byte {
	var plain [maxHeader]byte
	header := AppendHeader(plain[:0], req, padding)
	var length [lengthSize]byte
	binary.BigEndian.PutUint16(length[:], uint16(len(header)))
	b = append(b, id[:]...)
	aead, iv := requestAEAD(cmdKey, headerLenKeyText, headerLenNonceText, string(id[:]), string(nonce[:]))
	b = aead.Seal(b, iv[:], length[:], id[:])
	b = append(b, nonce[:]...)
	aead, iv = requestAEAD(cmdKey, headerKeyText, headerNonceText, string(id[:]), string(nonce[:]))
	return aead.Seal(b, iv[:], header, id[:])
}

func requestAEAD(cmdKey [16]byte, keyText, nonceText, id, nonce string) (cipher.AEAD, [12]byte) {
	iv := KDF(cmdKey[:], nonceText, id, nonce)
	return newGCM(KDF16(cmdKey[:], keyText, id, nonce)), [12]byte(iv[:12])
}

// OpenLegacyRequest decodes the legacy request at the start of b, whose auth id is of that second and
// of a user with cmdKey, and returns its length; see OpenRequest. The header has no tag, only a
// checksum: bits of it can be flipped, so an auth id whose header fails is never to be taken again.
//
//	| auth id 16 | AES-128-CFB of the header | body ... |
func OpenLegacyRequest(b []byte, cmdKey [16]byte, unix int64) (req Request, n int, err error) {
	if len(b) < AuthIDSize {
		return Request{}, 0, ErrShort
	}
	var plain [maxHeader]byte
	m := min(len(b)-AuthIDSize, maxHeader)
	newCFB(cmdKey, legacyIV(unix)).Decrypt(plain[:m], b[AuthIDSize:AuthIDSize+m])
	req, n, err = ParseHeader(plain[:m])
	if err != nil {
		return Request{}, 0, err
	}
	return req, AuthIDSize + n, nil
}

// SealLegacyRequest appends a legacy request to b. id is LegacyID's for that second; padding as in
// SealRequest.
func SealLegacyRequest(b []byte, cmdKey [16]byte, id [AuthIDSize]byte, unix int64, req Request, padding []byte) []byte {
	b = append(b, id[:]...)
	start := len(b)
	b = AppendHeader(b, req, padding)
	newCFB(cmdKey, legacyIV(unix)).Encrypt(b[start:], b[start:])
	return b
}
