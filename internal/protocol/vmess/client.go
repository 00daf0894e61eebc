package vmess

import (
	"crypto/cipher"
	"fmt"
	"io"

	M "github.com/sagernet/sing/common/metadata"
)

// Client makes the requests of one user, authenticated the AEAD way. It never changes.
type Client struct {
	key      [16]byte
	block    cipher.Block // of auth ids
	security Security
	options  Options
}

// NewClient returns the one of a user whose bodies have that security and those options.
func NewClient(id UUID, security Security, options Options) *Client {
	key := CmdKey(id)
	return &Client{key: key, block: NewAuthIDCipher(key), security: security, options: options}
}

// Request returns a new session to destination, and the request that begins it, for NewClientConn. unix
// is the clock, in seconds. random is where keys, nonces and padding come from. With command Mux destination
// means nothing. Packets are always in chunks.
func (c *Client) Request(command Command, destination M.Socksaddr, unix int64, random io.Reader) (Session, []byte) {
	var b [16 + 16 + 4 + nonceSize + maxPadding + 2]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		panic("vmess: no random bytes: " + err.Error()) // a key twice would give the payload away
	}
	key, iv, auth, nonce := [16]byte(b[:16]), [16]byte(b[16:32]), [4]byte(b[32:36]), [nonceSize]byte(b[36:44])
	padding, two := b[44:44+maxPadding], b[44+maxPadding:]
	s := Session{Request: Request{
		Key: key, IV: iv, Response: two[0], Options: c.options, Security: c.security,
		Padding: int(two[1] & maxPadding), Command: command, Destination: destination,
	}}
	if command == CommandUDP {
		s.Options |= OptionChunkStream
	}
	return s, SealRequest(nil, c.key, SealAuthID(c.block, unix, auth), nonce, s.Request, padding)
}

// ParseSecurity finds what a client's configuration names, and the options that go with it. On fast,
// whether the machine has instructions for AES-GCM, auto depends.
//
// zero is no encryption without chunks, none is with them: sing-box's none is our zero, Xray's ours.
func ParseSecurity(name string, fast bool) (Security, Options, error) {
	const usual = OptionChunkStream | OptionChunkMasking
	switch name {
	case "auto":
		if fast {
			return SecurityGCM, usual, nil
		}
		return SecurityChaCha, usual, nil
	case "aes-128-gcm":
		return SecurityGCM, usual, nil
	case "chacha20-poly1305":
		return SecurityChaCha, usual, nil
	case "none":
		return SecurityNone, usual, nil
	case "zero":
		return SecurityNone, 0, nil
	}
	return 0, 0, fmt.Errorf("security %q is unknown", name)
}
