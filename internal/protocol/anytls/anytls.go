// Package anytls is the server's side of AnyTLS, version 1 and 2: many streams in one session inside
// TLS, of which the client hides lengths and number with padding.
//
// There is no flow control per stream. A stream whose reader is slow has a bounded queue; when that is
// full the session waits for it, and after a few seconds, when others wait too, that stream alone is
// ended.
//
// Source: https://github.com/anytls/anytls-go/blob/main/docs/protocol.md, protocols.md §8
package anytls

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/wire"
)

const (
	// ChunkSize is the most payload in bytes of a frame towards the client: what a length can say.
	ChunkSize = 65535
	// MaxStreams is the default of Options.MaxStreams. sing-box and mihomo use one at a time.
	MaxStreams = 512
	// IdleTimeout is the default of Options.IdleTimeout. Clients keep sessions for later streams, 30 s
	// to 60 s by their own defaults.
	IdleTimeout = 5 * time.Minute

	// paddingTimeout is how long the padding behind the key may take.
	paddingTimeout = 10 * time.Second
	// requestTimeout is how long a client may take for the address of a stream that it has opened.
	requestTimeout = 30 * time.Second
	// ackTimeout is how long a stream may be without an answer: clients of version 2 give the whole
	// session up after 3 s. A dial that fails later ends the stream.
	ackTimeout = 2500 * time.Millisecond
	// alertTimeout is how long a client may take to read why it is sent away.
	alertTimeout = 5 * time.Second
	// maxPending bounds what a client may leave unread of our small frames, in bytes.
	maxPending = 64 << 10
	// maxSettings bounds the settings of a client in bytes; theirs have about 80.
	maxSettings = 1 << 10
	// maxAlert bounds the text of a client's alert that is looked at.
	maxAlert = 256
)

// Errors of Serve.
var (
	// ErrNoSettings says that a client opened a stream before it sent its settings.
	ErrNoSettings = errors.New("client did not send its settings")
	// ErrAlert says that the client ended the session with an alert.
	ErrAlert = errors.New("alert of the client")
)

// Errors of the parsers. All but ErrShort wrap ErrBadRequest and are final.
var (
	ErrShort      = wire.ErrShort
	ErrBadRequest = wire.ErrBadRequest
)

// Key is what a client authenticates with: the SHA-256 of the password.
type Key [sha256.Size]byte

// KeyOf returns the key of a password.
func KeyOf(password string) Key { return sha256.Sum256([]byte(password)) }

// Auth is the start of a session.
type Auth struct {
	Key     Key
	Padding int // bytes that follow, 0 to 65535
}

// authSize is the length of Auth in bytes, its padding apart.
const authSize = sha256.Size + 2

// ParseAuth decodes the authentication at the start of b and returns its length in bytes, without the
// padding that follows. While b is only a prefix the error is ErrShort.
//
//	| SHA-256 of the password 32 | padding length u16be | padding ... | frames ... |
func ParseAuth(b []byte) (a Auth, n int, err error) {
	if len(b) < authSize {
		return Auth{}, 0, ErrShort
	}
	a.Key = Key(b)
	a.Padding = int(binary.BigEndian.Uint16(b[sha256.Size:]))
	return a, authSize, nil
}

// AppendAuth appends a, and zeros for its padding, to b.
func AppendAuth(b []byte, a Auth) []byte {
	b = append(b, a.Key[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(a.Padding))
	return append(b, make([]byte, a.Padding)...)
}

// Handler serves the streams of a client. Each call is on a goroutine of its own, owns its conn, closes
// it and returns once it is done. A panic is the handler's to recover. ctx ends with the session.
//
// HandshakeSuccess of conn tells the client that its destination was reached, HandshakeFailure(err)
// that it was not. There is no half-close: reading EOF means that the client has ended the stream both
// ways, and what it sent before is still read. UDP comes as a stream to uot.Host.
type Handler interface {
	NewStream(ctx context.Context, conn net.Conn, destination M.Socksaddr)
}

// Options of one session.
type Options struct {
	Handler Handler
	// Ahead lets a stream be looked into: netio.NewConn. It owns the stream. When it has a Drop, that
	// is called once the handler has returned.
	Ahead func(net.Conn) wire.Conn
	// Scheme is the padding that clients are told to use. nil is DefaultScheme's.
	Scheme *Scheme
	// MaxStreams bounds streams at once; those the client ended count until their handler returned. 0
	// is the default.
	MaxStreams int
	// IdleTimeout closes a session without streams. 0 is the default.
	IdleTimeout time.Duration
}

// Serve answers the client on conn, whose Auth was read but for padding bytes of it, until it ends,
// breaks the protocol, idles, or ctx is done; then it closes conn, ends what is open and waits for the
// handlers. The error is nil when the client closed or the session idled.
func Serve(ctx context.Context, conn wire.Conn, padding int, opt Options) error {
	if opt.Scheme == nil {
		opt.Scheme = DefaultScheme()
	}
	if opt.MaxStreams == 0 {
		opt.MaxStreams = MaxStreams
	}
	if opt.IdleTimeout == 0 {
		opt.IdleTimeout = IdleTimeout
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	s := newServer(ctx, conn, opt)
	err := s.skip(padding)
	if err == nil {
		err = s.loop()
	}
	s.shutdown()
	cancel()
	s.wg.Wait()
	return err
}

// skip drops the padding of the authentication.
func (s *server) skip(padding int) error {
	if padding == 0 {
		return nil
	}
	timer := time.AfterFunc(paddingTimeout, func() { _ = s.conn.Close() })
	defer timer.Stop()
	if _, err := s.conn.Discard(padding); err != nil {
		return fmt.Errorf("padding: %w", err)
	}
	return nil
}
