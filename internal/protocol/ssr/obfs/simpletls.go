package obfs

import (
	"encoding/binary"
	"io"
)

// simpleTLS is simple-obfs' tls at the server: the first data is the session ticket of the hello.
type simpleTLS struct {
	server   *Server
	gate     Gate
	random   io.Reader
	begun    bool
	session  [32]byte
	answered bool
	in       records
}

func simpleTLSServer(s *Server, g Gate, random io.Reader) Codec {
	return &simpleTLS{server: s, gate: g, random: random}
}

// Decode implements Codec.
func (t *simpleTLS) Decode(dst, src []byte) (n, used int, err error) {
	if !t.begun {
		h, k, err := parseHello(src)
		if k == 0 || err != nil {
			return 0, 0, err
		}
		if !t.server.inTime(t.gate, h.utc()) {
			return 0, 0, ErrReplay
		}
		if err := t.server.allowed(t.gate, h.host); err != nil {
			return 0, 0, err
		}
		// The random is not asked whether it is fresh, as shadowsocks-mod does: nothing authenticates it, so
		// that whoever replays a hello can change it, while obfs-local takes it from rand() seeded with
		// the second of its start, so that two clients may well have the same.
		t.begun, t.session = true, [32]byte(h.session)
		n, used = copy(dst, h.ticket), k
	}
	m, k, err := t.in.decode(dst[n:], src[used:])
	return n + m, used + k, err
}

// Greeting implements Codec.
func (*simpleTLS) Greeting() []byte { return nil }

// Lengths of what goes before the first data of a server.
const (
	simpleHello  = 96
	simpleAnswer = simpleHello + len(change) // a record follows
)

// Open implements Codec.
func (t *simpleTLS) Open(b []byte) []byte {
	if t.answered {
		return openRecord(b, typeData)
	}
	t.answered = true
	b = append(b, typeHandshake, 3, 1, 0, 0x5b, 2, 0, 0, 0x57, 3, 3)
	b = binary.BigEndian.AppendUint32(b, uint32(t.gate.Now().Unix()))
	b = appendRandom(b, t.random, 28)
	b = append(append(b, byte(len(t.session))), t.session[:]...)
	b = append(b, "\xcc\xa8\x00\x00\x00\xff\x01\x00\x01\x00\x00\x17\x00\x00\x00\x0b\x00\x02\x01\x00"...)
	b = append(b, change...)
	return openRecord(b, typeHandshake)
}

// Close implements Codec.
func (t *simpleTLS) Close(b []byte, at int) []byte {
	if b[at] == typeHandshake {
		at += simpleAnswer
	}
	return closeRecord(b, at)
}

// Front implements Codec.
func (t *simpleTLS) Front() int { return simpleAnswer + recordHead }

// Ready implements Codec.
func (t *simpleTLS) Ready() bool { return t.begun }

// simpleTLSDial is the same at the client.
type simpleTLSDial struct {
	client *Client
	random io.Reader
	asked  bool
	skip   int // bytes of the answer before its first data
	in     records
}

func simpleTLSClient(c *Client, random io.Reader) Codec {
	return &simpleTLSDial{client: c, random: random, skip: simpleAnswer, in: records{first: typeHandshake}}
}

// Decode implements Codec. Like all clients it looks at nothing of the answer.
func (t *simpleTLSDial) Decode(dst, src []byte) (n, used int, err error) {
	used = min(t.skip, len(src))
	t.skip -= used
	n, k, err := t.in.decode(dst, src[used:])
	return n, used + k, err
}

// Greeting implements Codec.
func (*simpleTLSDial) Greeting() []byte { return nil }

// simpleFixed is what precedes the ticket's extension.
const simpleFixed = 138

// Open implements Codec.
func (t *simpleTLSDial) Open(b []byte) []byte {
	if t.asked {
		return openRecord(b, typeData)
	}
	b = append(b, typeHandshake, 3, 1, 0, 0, 1, 0, 0, 0, 3, 3)
	b = binary.BigEndian.AppendUint32(b, uint32(t.client.Now.Unix()))
	b = appendRandom(b, t.random, 28)
	b = append(append(b, byte(len(t.client.ClientID))), t.client.ClientID[:]...)
	b = append(b, "\x00\x38\xc0\x2c\xc0\x30\x00\x9f\xcc\xa9\xcc\xa8\xcc\xaa\xc0\x2b\xc0\x2f\x00\x9e\xc0\x24\xc0\x28\x00\x6b\xc0\x23\xc0\x27\x00\x67\xc0\x0a\xc0\x14\x00\x39\xc0\x09\xc0\x13\x00\x33\x00\x9d\x00\x9c\x00\x3d\x00\x3c\x00\x35\x00\x2f\x00\xff\x01\x00"...)
	return append(b, 0, 0, 0, extensionTicket, 0, 0) // lengths are Close's
}

// Close implements Codec.
func (t *simpleTLSDial) Close(b []byte, at int) []byte {
	if t.asked {
		return closeRecord(b, at)
	}
	t.asked = true
	binary.BigEndian.PutUint16(b[at+simpleFixed+2:], uint16(len(b)-at-simpleFixed-4))
	b = appendServerName(b, t.client.Host)
	b = append(b, simpleRest...)
	binary.BigEndian.PutUint16(b[at+simpleFixed-2:], uint16(len(b)-at-simpleFixed))
	binary.BigEndian.PutUint16(b[at+7:], uint16(len(b)-at-9))
	return closeRecord(b, at)
}

// simpleRest is the extensions behind the host.
const simpleRest = "\x00\x0b\x00\x04\x03\x01\x00\x02\x00\x0a\x00\x0a\x00\x08\x00\x1d\x00\x17\x00\x19\x00\x18\x00\x0d\x00\x20\x00\x1e\x06\x01\x06\x02\x06\x03\x05\x01\x05\x02\x05\x03\x04\x01\x04\x02\x04\x03\x03\x01\x03\x02\x03\x03\x02\x01\x02\x02\x02\x03\x00\x16\x00\x00\x00\x17\x00\x00"

// Front implements Codec.
func (t *simpleTLSDial) Front() int {
	return simpleFixed + 4 + 9 + len(t.client.Host) + len(simpleRest)
}

// Ready implements Codec.
func (t *simpleTLSDial) Ready() bool { return true }
