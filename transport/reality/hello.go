package reality

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/mlkem"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	utls "github.com/metacubex/utls"
)

const (
	typeHandshake   = 22
	typeClientHello = 1
	recordHeader    = 5
	messageHeader   = 4
	maxRecord       = 16 << 10
	// maxHello bounds a ClientHello. The largest of browsers, with a post-quantum share, have 2 KiB.
	maxHello = 16 << 10
	// maxRecords of a ClientHello. Clients that fragment it cut at the labels of the server name.
	maxRecords = 32

	sessionIDSize   = 32
	sessionIDOffset = messageHeader + 2 + 32 + 1 // behind version, random and its own length
)

// errShort says that the bytes so far are the start of a ClientHello.
var errShort = errors.New("incomplete")

// Errors of strangers, each the reason for a relay.
var (
	errNoHello      = errors.New("no ClientHello")
	errNoTLS13      = errors.New("no TLS 1.3")
	errNoAuth       = errors.New("no authentication for our key")
	errNoShare      = errors.New("no X25519 share, or a malformed one")
	errServerName   = errors.New("server name is not ours")
	errVersion      = errors.New("client version is not allowed")
	errClock        = errors.New("clock is off by more than max_time_difference")
	errShortID      = errors.New("unknown short id")
	errReplay       = errors.New("replayed ClientHello")
	errTargetFirst  = errors.New("the target answered first")
	errHandshakeEnd = errors.New("no whole ClientHello before the handshake timeout")
)

// parseHello finds the ClientHello at the start of b, which may span records. n is where its last
// record ends. msg may alias b.
func parseHello(b []byte) (msg []byte, n int, err error) {
	for records := 0; records < maxRecords; records++ {
		rest := b[n:]
		if len(rest) > 0 && rest[0] != typeHandshake || len(rest) > 1 && rest[1] != 3 {
			return nil, 0, errNoHello
		}
		if len(rest) < recordHeader {
			return nil, 0, errShort
		}
		size := int(binary.BigEndian.Uint16(rest[3:]))
		if size == 0 || size > maxRecord {
			return nil, 0, errNoHello
		}
		part := rest[recordHeader:min(len(rest), recordHeader+size)]
		switch records {
		case 0:
			msg = part
		case 1:
			msg = append(slices.Clone(msg), part...)
		default:
			msg = append(msg, part...)
		}
		if len(msg) > 0 && msg[0] != typeClientHello {
			return nil, 0, errNoHello
		}
		want := 0
		if len(msg) >= messageHeader {
			want = messageHeader + int(msg[1])<<16 + int(msg[2])<<8 + int(msg[3])
			if want > maxHello || len(msg) > want {
				return nil, 0, errNoHello
			}
		}
		if len(part) < size {
			return nil, 0, errShort
		}
		n += recordHeader + size
		if len(msg) == want {
			return msg, n, nil
		}
	}
	return nil, 0, errNoHello
}

// auth is what a client says about itself in the session id.
type auth struct {
	version [3]byte
	time    time.Time
	shortID [8]byte
	tag     [16]byte // different for each ClientHello
	groups  []utls.CurveID
}

// open authenticates a ClientHello.
//
// The session id is AES-256-GCM of version 3, zero 1, unix seconds u32be and short id 8; the key is
// HKDF-SHA256 of the shared X25519 secret with random[:20] as salt and "REALITY" as info, the nonce
// random[20:], and the message with a zero session id is authenticated too.
//
// Source: https://github.com/XTLS/REALITY, tls.go
func open(msg []byte, key *ecdh.PrivateKey, names map[string]bool) (auth, error) {
	hello := utls.UnmarshalClientHello(msg)
	switch {
	case hello == nil:
		return auth{}, errNoHello
	case !slices.Contains(hello.SupportedVersions, utls.VersionTLS13):
		return auth{}, errNoTLS13
	case len(hello.SessionId) != sessionIDSize:
		return auth{}, errNoAuth
	case !names[hello.ServerName]:
		return auth{}, fmt.Errorf("%w: %q", errServerName, hello.ServerName)
	}
	share, groups, err := shares(hello.KeyShares)
	if err != nil {
		return auth{}, err
	}
	secret, err := key.ECDH(share)
	if err != nil {
		return auth{}, errNoShare
	}
	authKey, err := hkdf.Key(sha256.New, secret, hello.Random[:20], "REALITY", 32)
	if err != nil {
		return auth{}, err
	}
	block, err := aes.NewCipher(authKey)
	if err != nil {
		return auth{}, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return auth{}, err
	}
	aad := bytes.Clone(msg)
	clear(aad[sessionIDOffset : sessionIDOffset+sessionIDSize])
	sealed := msg[sessionIDOffset : sessionIDOffset+sessionIDSize]
	plain, err := aead.Open(nil, hello.Random[20:], sealed, aad)
	if err != nil {
		return auth{}, errNoAuth
	}
	return auth{
		version: [3]byte(plain[:3]),
		time:    time.Unix(int64(binary.BigEndian.Uint32(plain[4:])), 0),
		shortID: [8]byte(plain[8:]),
		tag:     [16]byte(sealed[16:]),
		groups:  groups,
	}, nil
}

// shares returns the client's X25519 key, preferably the one that stands alone, and the groups it has
// keys for that can be answered. It is strict: the server of utls trusts what comes through here.
func shares(list []utls.KeyShare) (*ecdh.PublicKey, []utls.CurveID, error) {
	var key *ecdh.PublicKey
	var groups []utls.CurveID
	for _, s := range list {
		var raw []byte
		switch s.Group {
		case utls.X25519:
			raw = s.Data
		case utls.X25519MLKEM768:
			if len(s.Data) != mlkem.EncapsulationKeySize768+32 {
				return nil, nil, errNoShare
			}
			if _, err := mlkem.NewEncapsulationKey768(s.Data[:mlkem.EncapsulationKeySize768]); err != nil {
				return nil, nil, errNoShare
			}
			raw = s.Data[mlkem.EncapsulationKeySize768:]
		default:
			continue
		}
		public, err := ecdh.X25519().NewPublicKey(raw)
		if err != nil || slices.Contains(groups, s.Group) {
			return nil, nil, errNoShare
		}
		if key == nil || s.Group == utls.X25519 {
			key = public
		}
		groups = append(groups, s.Group)
	}
	if key == nil {
		return nil, nil, errNoShare
	}
	return key, groups, nil
}
