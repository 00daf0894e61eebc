package reality

import (
	"crypto/mlkem"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	utls "github.com/metacubex/utls"
	"golang.org/x/crypto/cryptobyte"
)

const (
	typeServerHello      = 2
	extSupportedVersions = 43
	extKeyShare          = 51
	// maxServerHello bounds the record of a ServerHello: one with a post-quantum share has 1.2 KiB.
	maxServerHello = 4 << 10
)

// ErrTarget is wrapped by everything that is wrong with the target.
var ErrTarget = errors.New("REALITY target")

var errBadServerHello = fmt.Errorf("%w: its answer is no ServerHello in a record of its own", ErrTarget)

// serverHelloSize returns the length of the record at the start of b, or errShort.
func serverHelloSize(b []byte) (int, error) {
	if len(b) < recordHeader {
		return 0, errShort
	}
	size := int(binary.BigEndian.Uint16(b[3:]))
	if b[0] != typeHandshake || size > maxServerHello {
		return 0, errBadServerHello
	}
	if len(b) < recordHeader+size {
		return 0, errShort
	}
	return recordHeader + size, nil
}

// checkServerHello says why the target's ServerHello, a whole record, cannot be imitated for a client
// with keys for groups.
func checkServerHello(record []byte, groups []utls.CurveID) error {
	s := cryptobyte.String(record[recordHeader:])
	var kind, compression uint8
	var legacy, suite uint16
	var random []byte
	var body, session, extensions cryptobyte.String
	if !s.ReadUint8(&kind) || kind != typeServerHello || !s.ReadUint24LengthPrefixed(&body) || !s.Empty() ||
		!body.ReadUint16(&legacy) || !body.ReadBytes(&random, 32) || !body.ReadUint8LengthPrefixed(&session) ||
		!body.ReadUint16(&suite) || !body.ReadUint8(&compression) {
		return errBadServerHello
	}
	if !body.Empty() && (!body.ReadUint16LengthPrefixed(&extensions) || !body.Empty()) {
		return errBadServerHello
	}
	version, share, err := readExtensions(extensions)
	switch {
	case err != nil:
		return err
	case version != utls.VersionTLS13:
		return fmt.Errorf("%w: it does not speak TLS 1.3", ErrTarget)
	case suite != utls.TLS_AES_128_GCM_SHA256 && suite != utls.TLS_AES_256_GCM_SHA384 && suite != utls.TLS_CHACHA20_POLY1305_SHA256:
		return fmt.Errorf("%w: it chose the cipher suite %#x", ErrTarget, suite)
	}
	return checkShare(share, groups)
}

// readExtensions returns the version and the body of the key share.
func readExtensions(s cryptobyte.String) (version uint16, share cryptobyte.String, err error) {
	for !s.Empty() {
		var typ uint16
		var data cryptobyte.String
		if !s.ReadUint16(&typ) || !s.ReadUint16LengthPrefixed(&data) {
			return 0, nil, errBadServerHello
		}
		switch typ {
		case extSupportedVersions:
			if !data.ReadUint16(&version) {
				return 0, nil, errBadServerHello
			}
		case extKeyShare:
			share = data
		}
	}
	return version, share, nil
}

func checkShare(share cryptobyte.String, groups []utls.CurveID) error {
	var group uint16
	var data cryptobyte.String
	if !share.ReadUint16(&group) {
		return errBadServerHello
	}
	if share.Empty() {
		return fmt.Errorf("%w: it wants another key exchange than the client's (HelloRetryRequest for group %#x)", ErrTarget, group)
	}
	if !share.ReadUint16LengthPrefixed(&data) || !share.Empty() {
		return errBadServerHello
	}
	want := 32
	if utls.CurveID(group) == utls.X25519MLKEM768 {
		want += mlkem.CiphertextSize768
	}
	if !slices.Contains(groups, utls.CurveID(group)) || len(data) != want {
		return fmt.Errorf("%w: it chose the key exchange %#x, must be X25519 or X25519MLKEM768", ErrTarget, group)
	}
	return nil
}
