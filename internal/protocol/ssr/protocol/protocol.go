// Package protocol is the layer of ShadowsocksR between the payload and the cipher: it says who the
// client is, and gives frames padding and a MAC. ssr.md §3 to §7 is the source.
//
// All of it stands on MD5, SHA-1 and RC4. It keeps old clients going, it does not keep secrets.
package protocol

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"heki/internal/protocol/wire"
)

// Errors of Accept and of decoders. All but wire.ErrShort are final.
var (
	// ErrAuth says that the first bytes are not those of a user of this port.
	ErrAuth = errors.New("not authentic")
	// ErrUser says that the port is right and the user unknown.
	ErrUser = errors.New("unknown user id")
	// ErrFrame is wrapped by errors in the middle of a stream.
	ErrFrame = errors.New("bad frame")
)

// Sizes in bytes.
const (
	// MaxFirst is the longest first packet that is waited for; clients stay below 3000.
	MaxFirst = 8 << 10
	// DefaultMSS is what frames are cut by where nobody knows the connection's.
	DefaultMSS = 1460
	maxMSS     = 1500
)

// DefaultInterval is how many seconds auth_chain_f keeps its tables.
const DefaultInterval = 86400

// Spec is a protocol. The zero value is none of them.
type Spec struct {
	Name string
	// Overhead is what the protocol counts as its own of every frame, in bytes. Both ends must agree.
	Overhead int
	// Users says that it knows users by number.
	Users bool

	userKey  func(password string) []byte
	accept   func(p *Port, s Session, b []byte, who Lookup) (Accepted, error)
	client   func(p *Port, s Session, id Identity) (Encoder, Decoder)
	datagram func(p *Port) datagram
	padder   func(key []byte, interval int, utc uint32) padder // chains only
}

// specs is every protocol, by name.
var specs = [...]Spec{
	{Name: "origin", accept: acceptOrigin, client: clientOrigin, datagram: originDatagram},
	aes128Spec(&aes128MD5),
	aes128Spec(&aes128SHA1),
	chainSpec("auth_chain_a", newPadderA),
	chainSpec("auth_chain_b", newPadderB),
	chainSpec("auth_chain_c", newPadderC),
	chainSpec("auth_chain_d", newPadderD),
	chainSpec("auth_chain_e", newPadderE),
	chainSpec("auth_chain_f", newPadderF),
}

// ByName returns the protocol of that name.
func ByName(name string) (Spec, bool) {
	i := slices.IndexFunc(specs[:], func(s Spec) bool { return s.Name == name })
	if i < 0 {
		return Spec{}, false
	}
	return specs[i], true
}

// Names returns every protocol.
func Names() []string {
	names := make([]string, len(specs))
	for i := range specs {
		names[i] = specs[i].Name
	}
	return names
}

// UserKey is what a user's password becomes. It is nil for protocols without users.
func (s *Spec) UserKey(password string) []byte {
	if s.userKey == nil {
		return nil
	}
	return s.userKey(password)
}

// Port is a protocol with the key of a port. It is for any number of goroutines.
type Port struct {
	spec     Spec
	key      []byte
	overhead int
	interval int
	padder   padder // nil where it depends on the time
}

// NewPort returns the protocol for key, which is kept. overhead is the protocol's and the obfs'
// together, interval is of auth_chain_f, in seconds; 0 is DefaultInterval.
func NewPort(spec Spec, key []byte, overhead, interval int) *Port {
	p := &Port{spec: spec, key: key, overhead: overhead, interval: interval}
	if p.interval <= 0 {
		p.interval = DefaultInterval
	}
	if spec.padder != nil && spec.Name != "auth_chain_f" {
		p.padder = spec.padder(key, 0, 0)
	}
	return p
}

// Key returns the key of the port.
func (p *Port) Key() []byte { return p.key }

// Session is what a connection knows before it begins.
type Session struct {
	IV   []byte    // the client's IV or salt, kept
	MSS  int       // 501 to 1500; other values are DefaultMSS
	Rand io.Reader // padding; never fails
}

// mss returns a believable segment size.
func (s *Session) mss() int {
	if s.MSS <= 500 || s.MSS > maxMSS {
		return DefaultMSS
	}
	return s.MSS
}

// Head is what a client says of itself.
type Head struct {
	UID      uint32
	UTC      uint32 // unix time
	ClientID uint32 // random for each client process
	ConnID   uint32 // one more for each connection
}

// Lookup returns the key of a user, by UserKey, or the port's key where users are not told apart.
type Lookup func(uid uint32) (key []byte, ok bool)

// Accepted is a client that was authenticated, and not yet admitted: time and replay are the caller's.
type Accepted struct {
	Head
	Known   bool // there is a Head
	Used    int  // bytes of the first packet that are done with
	Payload int  // bytes of payload, which the buffer begins with now
	Answer  bool // answer at once, with an empty frame
	Decoder Decoder
	Encoder Encoder
}

// Accept looks at the first bytes of a client, which it changes in place once they are whole. While
// they are too few the error is wire.ErrShort, and nothing is changed.
func (p *Port) Accept(s Session, b []byte, who Lookup) (Accepted, error) {
	return p.spec.accept(p, s, b, who)
}

// Identity is what a client sends of itself.
type Identity struct {
	Head
	Key []byte // by UserKey, or the port's key
}

// Client returns the codecs of a client. The first frame carries the auth head.
func (p *Port) Client(s Session, id Identity) (Encoder, Decoder) { return p.spec.client(p, s, id) }

// Decoder takes frames apart.
type Decoder interface {
	// Decode takes the whole frames at the start of b, in place: b begins with payload bytes of
	// payload then, and used bytes of it are done with. answer says that the client wants a sign of
	// life. An error is final; there may be payload before it.
	Decode(b []byte) (payload, used int, answer bool, err error)
}

// Encoder makes frames.
type Encoder interface {
	// Most is how much payload the next frame may carry, of n bytes that are there. It is at least 1
	// for an n of at least 1.
	Most(n int) int
	// Extra bounds what the next frame adds to a payload of n bytes.
	Extra(n int) int
	// Append appends a frame with the payload p to dst, which has the room and is apart from p.
	Append(dst, p []byte) []byte
}

// badFrame wraps ErrFrame.
func badFrame(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrFrame}, args...)...)
}

// origin is no protocol at all.
type origin struct{}

func acceptOrigin(_ *Port, _ Session, b []byte, _ Lookup) (Accepted, error) {
	if len(b) == 0 {
		return Accepted{}, wire.ErrShort
	}
	return Accepted{Used: len(b), Payload: len(b), Decoder: origin{}, Encoder: origin{}}, nil
}

func clientOrigin(*Port, Session, Identity) (Encoder, Decoder) { return origin{}, origin{} }

// Decode implements Decoder.
func (origin) Decode(b []byte) (int, int, bool, error) { return len(b), len(b), false, nil }

// Most implements Encoder.
func (origin) Most(n int) int { return n }

// Extra implements Encoder.
func (origin) Extra(int) int { return 0 }

// Append implements Encoder.
func (origin) Append(dst, p []byte) []byte { return append(dst, p...) }
