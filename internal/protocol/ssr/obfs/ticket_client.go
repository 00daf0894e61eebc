package obfs

import (
	"crypto/hmac"
	"encoding/binary"
	"io"
)

// ticketDial is tls1.2_ticket_auth at the client: a hello, the server's answer, then Finished with the
// first data.
type ticketDial struct {
	client   *Client
	random   io.Reader
	hello    []byte // nil once it is out
	answered bool
	finished bool // Finished is out
	in       records
}

func ticketClient(c *Client, random io.Reader) Codec {
	return &ticketDial{client: c, random: random, hello: c.ticketHello(random)}
}

// ticketHello makes the ClientHello of the stock clients.
func (c *Client) ticketHello(random io.Reader) []byte {
	b := append(make([]byte, 0, 640), typeHandshake, 3, 1, 0, 0, 1, 0, 0, 0, 3, 3)
	at := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(c.Now.Unix()))
	b = appendRandom(b, random, 18)
	b = append(b, ticketSum(c.Key, c.ClientID[:], b[at:])...)
	b = append(append(b, byte(len(c.ClientID))), c.ClientID[:]...)
	b = append(b, "\x00\x1c\xc0\x2b\xc0\x2f\xcc\xa9\xcc\xa8\xcc\x14\xcc\x13\xc0\x0a\xc0\x14\xc0\x09\xc0\x13\x00\x9c\x00\x35\x00\x2f\x00\x0a\x01\x00"...)
	extensions := len(b)
	b = append(b, 0, 0)
	b = append(b, "\xff\x01\x00\x01\x00"...)
	b = appendServerName(b, c.Host)
	b = append(b, "\x00\x17\x00\x00\x00\x23\x00\xd0"...)
	b = appendRandom(b, random, 208)
	b = append(b, "\x00\x0d\x00\x16\x00\x14\x06\x01\x06\x03\x05\x01\x05\x03\x04\x01\x04\x03\x03\x01\x03\x03\x02\x01\x02\x03"...)
	b = append(b, "\x00\x05\x00\x05\x01\x00\x00\x00\x00\x00\x12\x00\x00\x75\x50\x00\x00\x00\x0b\x00\x02\x01\x00\x00\x0a\x00\x06\x00\x04\x00\x17\x00\x18"...)
	binary.BigEndian.PutUint16(b[extensions:], uint16(len(b)-extensions-2))
	binary.BigEndian.PutUint16(b[7:], uint16(len(b)-9))
	return closeRecord(b, 0)
}

// appendServerName appends the extension for host.
func appendServerName(b []byte, host string) []byte {
	n := len(host)
	b = append(b, 0, extensionSNI)
	b = binary.BigEndian.AppendUint16(b, uint16(n+5))
	b = binary.BigEndian.AppendUint16(b, uint16(n+3))
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	return append(b, host...)
}

// Greeting implements Codec.
func (t *ticketDial) Greeting() []byte {
	b := t.hello
	t.hello = nil
	return b
}

// Decode implements Codec.
func (t *ticketDial) Decode(dst, src []byte) (n, used int, err error) {
	if !t.answered {
		if used, err = t.answer(src); used == 0 || err != nil {
			return 0, 0, err
		}
		t.answered = true
	}
	n, k, err := t.in.decode(dst, src[used:])
	return n, used + k, err
}

// answer checks the server's records up to its Finished, which is the handshake record after
// ChangeCipherSpec.
func (t *ticketDial) answer(src []byte) (int, error) {
	last := false
	for at := 0; ; {
		rest := src[at:]
		if len(rest) < recordHead {
			return 0, tooLong(src)
		}
		end := at + recordHead + int(binary.BigEndian.Uint16(rest[3:]))
		if rest[1] != 3 || rest[2] != 3 || rest[0] != typeHandshake && rest[0] != typeChangeCipher {
			return 0, ErrHello
		}
		if len(src) < end {
			return 0, tooLong(src)
		}
		if last {
			if end-at < recordHead+ticketMAC || !hmac.Equal(src[end-ticketMAC:end], ticketSum(t.client.Key, t.client.ClientID[:], src[:end-ticketMAC])) {
				return 0, ErrHello
			}
			return end, nil
		}
		last = rest[0] == typeChangeCipher
		at = end
	}
}

func tooLong(src []byte) error {
	if len(src) >= MaxHello {
		return ErrHello
	}
	return nil
}

// Open implements Codec.
func (t *ticketDial) Open(b []byte) []byte {
	if !t.finished {
		t.finished = true
		at := len(b)
		b = append(append(b, change...), typeHandshake, 3, 3, 0, 0x20)
		b = appendRandom(b, t.random, 22)
		b = append(b, ticketSum(t.client.Key, t.client.ClientID[:], b[at:])...)
	}
	return openRecord(b, typeData)
}

// ticketFinished is how long ChangeCipherSpec and Finished are.
const ticketFinished = len(change) + recordHead + 22 + ticketMAC

// Close implements Codec.
func (t *ticketDial) Close(b []byte, at int) []byte {
	if b[at] == typeChangeCipher {
		at += ticketFinished
	}
	return closeRecord(b, at)
}

// Front implements Codec.
func (t *ticketDial) Front() int { return ticketFinished + recordHead }

// Ready implements Codec.
func (t *ticketDial) Ready() bool { return t.answered }
