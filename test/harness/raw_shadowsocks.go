package harness

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/netio"
	"heki/internal/protocol/shadowsocks"
	"heki/internal/protocol/ss2022"
)

// RawShadowsocks speaks Shadowsocks by itself, in parts: what a real client sends can be sent again,
// late, cut or changed.
type RawShadowsocks struct {
	Road  Road
	User  User
	Ahead time.Duration // 2022: of the client's clock

	// WrongServer names the user with another server's key: a wrong identity header. 2022 only.
	WrongServer bool

	classic shadowsocks.Method
	modern  ss2022.Method
	chain   *ss2022.Chain      // 2022
	seal    *ss2022.Sealer     // of the UDP session
	trial   *shadowsocks.Trial // AEAD
}

// Init readies it. It begins a UDP session of its own.
func (r *RawShadowsocks) Init(t testing.TB) {
	t.Helper()
	var ok bool
	if r.classic, ok = shadowsocks.ParseMethod(r.Road.Method); ok {
		r.trial = shadowsocks.NewTrial(r.classic)
		return
	}
	if r.modern, ok = ss2022.ParseMethod(r.Road.Method); !ok {
		t.Fatalf("no method %q", r.Road.Method)
	}
	server := r.Road.ServerKey()
	if r.WrongServer {
		server = ssKey(r.Road.Method, "the key of another server")
	}
	keys := server + ":" + ssKey(r.Road.Method, r.User.Password)
	if r.Road.Single {
		keys = ssKey(r.Road.Method, r.User.Password)
	}
	var err error
	if r.chain, err = ss2022.ParseChain(r.modern, keys); err != nil {
		t.Fatal(err)
	}
	session := randomBytes(8)
	r.seal = ss2022.NewClientSealer(r.chain, uint64(session[0])<<32|uint64(session[1])<<16|uint64(session[2]), rand.Reader)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func (r *RawShadowsocks) unix() int64 { return time.Now().Add(r.Ahead).Unix() }

// Request is a first flight that has payload for destination.
func (r *RawShadowsocks) Request(destination string, payload []byte) ([]byte, error) {
	dst := M.ParseSocksaddr(destination)
	if r.trial == nil {
		return ss2022.SealRequest(nil, r.chain, randomBytes(r.modern.KeySize()), r.unix(), dst, 0, payload), nil
	}
	var flight flightRecorder
	key := shadowsocks.NewKey(r.classic, r.User.Password)
	c := shadowsocks.NewClientConn(netio.NewConn(&flight), r.classic, key, randomBytes(r.classic.KeySize()), dst, nil)
	_, err := c.Write(payload)
	return flight.sent.Bytes(), err
}

// Salt is how many bytes of a request come before what is sealed.
func (r *RawShadowsocks) Salt() int {
	if r.trial == nil {
		return r.modern.KeySize()
	}
	return r.classic.KeySize()
}

// Datagram is the next datagram with payload for destination.
func (r *RawShadowsocks) Datagram(destination string, payload []byte) []byte {
	b, dst := buf.As(bytes.Clone(payload)), M.ParseSocksaddr(destination)
	if r.trial == nil {
		return bytes.Clone(r.seal.Seal(b, dst, r.unix(), 0).Bytes())
	}
	key := shadowsocks.NewKey(r.classic, r.User.Password)
	return bytes.Clone(r.trial.SealPacket(b, key, dst, randomBytes(r.classic.KeySize())).Bytes())
}

// Answer is the payload of a datagram that the server sent, which is opened in place.
func (r *RawShadowsocks) Answer(datagram []byte) ([]byte, error) {
	if r.trial != nil {
		plain, err := r.trial.OpenPacket(datagram, shadowsocks.NewKey(r.classic, r.User.Password))
		if err != nil {
			return nil, err
		}
		_, n, err := shadowsocks.ParsePacket(plain, "")
		return plain[n:], err
	}
	var p ss2022.Packet
	key := r.chain.PacketKey()
	if err := p.OpenHeader(key, datagram); err != nil {
		return nil, err
	}
	plain, err := p.Open(r.chain.SessionCipher(key, p.Session))
	if err != nil {
		return nil, err
	}
	body, n, err := ss2022.ParseBody(plain, true, "")
	if err == nil && !ss2022.Fresh(body.Unix, time.Now().Unix()) {
		err = errors.New("an answer of another time")
	}
	return plain[n:], err
}
