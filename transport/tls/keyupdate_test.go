package tls

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"strings"
	"testing"
	"time"

	"heki/internal/netio"
)

// sender seals records of TLS 1.3 by hand: crypto/tls has no way to send a key update.
type sender struct {
	hash   func() hash.Hash
	secret []byte
	keyLen int
	seq    uint64
}

func (s *sender) expand(label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(6+len(label)))
	info = append(append(info, "tls13 "+label...), 0)
	out, err := hkdf.Expand(s.hash, s.secret, string(info), n)
	if err != nil {
		panic(err)
	}
	return out
}

func (s *sender) record(kind byte, data string) []byte {
	block, _ := aes.NewCipher(s.expand("key", s.keyLen))
	aead, _ := cipher.NewGCM(block)
	nonce := s.expand("iv", 12)
	for i := range 8 {
		nonce[4+i] ^= byte(s.seq >> (56 - 8*i))
	}
	s.seq++
	head := []byte{23, 3, 3, 0, byte(len(data) + 1 + 16)}
	return aead.Seal(head, nonce, append([]byte(data), kind), head)
}

func (s *sender) update() {
	s.secret, s.seq = s.expand("traffic upd", len(s.secret)), 0
}

// What came before a key update is handed over although no more data follows, and the wait for more
// holds no buffer.
func TestKeyUpdate(t *testing.T) {
	var log bytes.Buffer
	client, server := connect(t, newServer(t, nil), &tls.Config{KeyLogWriter: &log})
	_, hexSecret, _ := strings.Cut(log.String(), "CLIENT_TRAFFIC_SECRET_0 ")
	hexSecret, _, _ = strings.Cut(hexSecret[65:], "\n")
	secret, err := hex.DecodeString(hexSecret)
	if err != nil {
		t.Fatal(err)
	}
	s := &sender{secret: secret}
	switch suite := client.ConnectionState().CipherSuite; suite {
	case tls.TLS_AES_128_GCM_SHA256:
		s.hash, s.keyLen = sha256.New, 16
	case tls.TLS_AES_256_GCM_SHA384:
		s.hash, s.keyLen = sha512.New384, 32
	default:
		return // a machine without AES instructions
	}
	raw := client.NetConn()
	flight := s.record(23, "hello")
	flight = append(flight, s.record(22, "\x18\x00\x00\x01\x00")...)
	s.update()
	_, _ = raw.Write(flight)
	_ = server.SetReadDeadline(time.Now().Add(time.Minute))
	b, err := server.WaitReadBuffer()
	if err != nil || string(b.Bytes()) != "hello" {
		t.Fatalf("before: %v, %v", b, err)
	}
	netio.Put(b)
	p := make([]byte, 10)
	got := make(chan string)
	go func() {
		n, err := server.Read(p)
		if err != nil {
			t.Error(err)
		}
		got <- string(p[:n])
	}()
	_, _ = raw.Write(s.record(22, "\x18\x00\x00\x01\x00"))
	s.update()
	_, _ = raw.Write(append(s.record(23, "again"), s.record(21, "\x01\x00")...))
	if s := <-got; s != "again" {
		t.Fatalf("after: %q", s)
	}
	if _, err := server.WaitReadBuffer(); err != io.EOF {
		t.Errorf("end: %v", err)
	}
}
