package reality

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	utls "github.com/metacubex/utls"

	"heki/option"
)

// FuzzHandshake sends what an evil user may send: any ClientHello, with a session id that is right for it
// if there is room. A panic in one of utls' goroutines would end heki; who is not answered by us gets the
// target's bytes.
func FuzzHandshake(f *testing.F) {
	flight := flightOf(f)
	private, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{3}, 32))
	if err != nil {
		f.Fatal(err)
	}
	for _, id := range []utls.ClientHelloID{
		utls.HelloChrome_Auto, utls.HelloFirefox_Auto, utls.HelloSafari_Auto, utls.HelloIOS_Auto, utls.HelloEdge_Auto,
	} {
		hello := helloOf(f, user{id: id})
		replaceShare(hello, private.PublicKey().Bytes())
		f.Add(hello)
		f.Add(fragment(hello, 300))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	f.Fuzz(func(t *testing.T, in []byte) {
		in = bytes.Clone(in)
		authenticate(in, private)
		o := newOptions(t, l.Addr().String())
		o.HandshakeTimeout = option.Duration(time.Second)
		s, err := New(o, time.Now, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan []byte, 1)
		go func() {
			defer close(got)
			remote, err := l.Accept()
			if err != nil {
				return
			}
			defer remote.Close()
			heard := make([]byte, len(in))
			n, _ := io.ReadFull(remote, heard)
			got <- heard[:n]
			_, _ = remote.Write(flight)
			_, _ = io.Copy(io.Discard, remote)
		}()
		client, server := tcpPair(t)
		answer := make(chan []byte, 1)
		go func() {
			_, _ = client.Write(in)
			b := make([]byte, len(flight))
			n, _ := io.ReadFull(client, b)
			_ = client.Close()
			answer <- b[:n]
		}()
		_, err = s.Handshake(t.Context(), server)
		if err == nil {
			t.Fatal("the handshake is done without its client")
		}
		heard, b := <-got, <-answer
		if errors.Is(err, ErrStranger) && (!bytes.Equal(heard, in) || !bytes.Equal(b, flight)) {
			t.Errorf("%v: the target got %d bytes of %d, and the stranger %d of its %d", err, len(heard), len(in), len(b), len(flight))
		}
	})
}

// flightOf is all that a site answers to a ClientHello.
func flightOf(f *testing.F) []byte {
	f.Helper()
	c, err := net.Dial("tcp", newTarget(f, nil).Listener.Addr().String())
	if err != nil {
		f.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write(helloOf(f, user{without: utls.X25519MLKEM768}))
	var flight []byte
	for range 6 { // ServerHello, change cipher spec, then four encrypted messages
		head := make([]byte, recordHeader)
		if _, err := io.ReadFull(c, head); err != nil {
			f.Fatal(err)
		}
		record := append(head, make([]byte, binary.BigEndian.Uint16(head[3:]))...)
		if _, err := io.ReadFull(c, record[recordHeader:]); err != nil {
			f.Fatal(err)
		}
		flight = append(flight, record...)
	}
	return flight
}

// replaceShare puts public where the ClientHello's own X25519 key is.
func replaceShare(record, public []byte) {
	for _, s := range utls.UnmarshalClientHello(record[recordHeader:]).KeyShares {
		if s.Group == utls.X25519 {
			copy(record[bytes.LastIndex(record, s.Data):], public)
		}
	}
}

// authenticate makes the session id right when b is a ClientHello in one record. The share that
// answers it has to be private's.
func authenticate(b []byte, private *ecdh.PrivateKey) {
	msg, _, err := parseHello(b) // of one record it aliases b
	if err != nil {
		return
	}
	hello := utls.UnmarshalClientHello(msg)
	if hello == nil || len(hello.SessionId) != sessionIDSize {
		return
	}
	server, err := ecdh.X25519().NewPrivateKey(testKey)
	if err != nil {
		return
	}
	secret, err := private.ECDH(server.PublicKey())
	if err != nil {
		return
	}
	key, _ := hkdf.Key(sha256.New, secret, hello.Random[:20], "REALITY", 32)
	block, _ := aes.NewCipher(key)
	aead, _ := cipher.NewGCM(block)
	id := msg[sessionIDOffset : sessionIDOffset+sessionIDSize]
	clear(id)
	plain := make([]byte, 16)
	copy(plain, []byte{1, 8, 1, 0})
	binary.BigEndian.PutUint32(plain[4:], uint32(time.Now().Unix()))
	copy(id, aead.Seal(nil, hello.Random[20:], plain, bytes.Clone(msg)))
}
