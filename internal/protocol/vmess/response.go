package vmess

import (
	"crypto/cipher"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"heki/internal/protocol/cfb"
)

// Session is what both ends of a connection know once the request is through.
type Session struct {
	Request
	Legacy bool // authenticated the MD5 way, on which the response's keys depend
}

// responseKeys returns key and IV of the response.
func (s *Session) responseKeys() (key, iv [16]byte) {
	if s.Legacy {
		return md5.Sum(s.Key[:]), md5.Sum(s.IV[:])
	}
	k, i := sha256.Sum256(s.Key[:]), sha256.Sum256(s.IV[:])
	return [16]byte(k[:16]), [16]byte(i[:16])
}

// Response header sizes in bytes.
const (
	responseHeader = 4 // | response byte 1 | option 1 | command 1 | command length 1 |
	maxResponse    = responseHeader + 255
	responseFront  = lengthSize + tagSize
	sealedResponse = responseFront + responseHeader + tagSize
)

// sealResponse appends the AEAD response header to b: sealedResponse bytes.
//
//	| sealed length 2+16 | sealed header 4+16 | body ... |
func (s *Session) sealResponse(b []byte) []byte {
	aead, iv := s.responseAEAD(respLenKeyText, respLenNonceText)
	b = aead.Seal(b, iv[:], []byte{0, responseHeader}, nil)
	aead, iv = s.responseAEAD(respKeyText, respNonceText)
	return aead.Seal(b, iv[:], []byte{s.Response, 0, 0, 0}, nil)
}

// openResponse decodes the AEAD response header at the start of b and returns its length. Commands of
// the server are skipped. While b is only a prefix the error is ErrShort; others are final.
func (s *Session) openResponse(b []byte) (n int, err error) {
	if len(b) < responseFront {
		return 0, ErrShort
	}
	var plain [maxResponse]byte
	aead, iv := s.responseAEAD(respLenKeyText, respLenNonceText)
	length, err := aead.Open(plain[:0], iv[:], b[:responseFront], nil)
	if err != nil {
		return 0, errSealed
	}
	size := int(binary.BigEndian.Uint16(length))
	if size < responseHeader || size > maxResponse {
		return 0, errLength
	}
	n = responseFront + size + tagSize
	if len(b) < n {
		return 0, ErrShort
	}
	aead, iv = s.responseAEAD(respKeyText, respNonceText)
	header, err := aead.Open(plain[:0], iv[:], b[responseFront:n], nil)
	if err != nil {
		return 0, errSealed
	}
	return n, s.checkResponse(header[0])
}

// openLegacyResponse is openResponse for the legacy form, whose CFB stream c goes on with the body
// when that is legacy too. It touches c only when the header is whole.
func (s *Session) openLegacyResponse(b []byte, c *cfb.Stream) (n int, err error) {
	if len(b) < responseHeader {
		return 0, ErrShort
	}
	var plain [maxResponse]byte
	ahead := *c
	ahead.Decrypt(plain[:], b[:responseHeader])
	n = responseHeader + int(plain[3])
	if len(b) < n {
		return 0, ErrShort
	}
	ahead.Decrypt(plain[responseHeader:], b[responseHeader:n])
	*c = ahead
	return n, s.checkResponse(plain[0])
}

func (s *Session) checkResponse(got byte) error {
	if got != s.Response {
		return fmt.Errorf("%w: the answer is to another request", ErrBadRequest)
	}
	return nil
}

func (s *Session) responseAEAD(keyText, nonceText string) (cipher.AEAD, [12]byte) {
	key, iv := s.responseKeys()
	nonce := KDF(iv[:], nonceText)
	return newGCM(KDF16(key[:], keyText)), [12]byte(nonce[:12])
}
