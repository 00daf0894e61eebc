package ss2022

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/protocol/wire"
	"heki/internal/protocol/wire/wiretest"
)

func TestParseChain(t *testing.T) {
	key := func(n int) string { return base64.StdEncoding.EncodeToString(random(n)) }
	for _, tt := range []struct {
		name string
		m    Method
		text string
		err  string
	}{
		{"one", AES128GCM, key(16), ""},
		{"two", AES128GCM, key(16) + ":" + key(16), ""},
		{"eight", AES256GCM, strings.TrimSuffix(strings.Repeat(key(32)+":", 8), ":"), ""},
		{"nine", AES256GCM, strings.TrimSuffix(strings.Repeat(key(32)+":", 9), ":"), "more than 8"},
		{"none", AES128GCM, "", "key 1 of 1"},
		{"short", AES128GCM, key(16) + ":" + key(15), "key 2 of 2"},
		{"no base64", AES128GCM, "!:" + key(16), "key 1 of 2"},
		{"chacha", ChaCha20Poly1305, key(32), ""},
		{"chacha, two", ChaCha20Poly1305, key(32) + ":" + key(32), "no identity headers"},
	} {
		c, err := ParseChain(tt.m, tt.text)
		if tt.err == "" {
			if err != nil || c.Method() != tt.m {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), tt.err) || tt.text != "" && strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
	}
}

// Each server on the way finds the next one's name under its own key, in streams and in datagrams.
func TestChainOfRelays(t *testing.T) {
	for _, m := range []Method{AES128GCM, AES256GCM} {
		first, second, own := random(m.KeySize()), random(m.KeySize()), random(m.KeySize())
		c := NewChain(m, first, second, own)
		salt := random(m.KeySize())
		b := SealRequest(nil, c, salt, someTime, destination, 0, []byte("hello"))
		if Identify(m, first, b) != HashOf(second) {
			t.Errorf("%s: the first server does not know the second", m)
		}
		b = append(bytes.Clone(salt), b[len(salt)+blockLen:]...) // what the first passes on
		if Identify(m, second, b) != HashOf(own) {
			t.Errorf("%s: the second server does not know the user", m)
		}
		if _, _, err := OpenRequest(m, own, b, true); err != nil {
			t.Errorf("%s: %v", m, err)
		}

		d := NewClientSealer(c, 77, rand.Reader).Seal(buf.As([]byte("hello")), destination, someTime, 0).Bytes()
		var p Packet
		if err := p.OpenHeader(NewPacketKey(m, first, true), d); err != nil || p.Session != 77 || p.Hash != HashOf(second) {
			t.Errorf("%s: a datagram's first header: %+v, %v", m, p, err)
		}
		header := p.header
		newBlock(second).Encrypt(header[:], header[:]) // the first server seals it anew for the second
		d = append(header[:], d[headerSize+hashSize:]...)
		k := NewPacketKey(m, second, true)
		if err := p.OpenHeader(k, d); err != nil || p.Hash != HashOf(own) {
			t.Errorf("%s: a datagram's second header: %+v, %v", m, p, err)
		}
		if plain, err := p.Open(k.SessionCipher(own, 77)); err != nil || !bytes.HasSuffix(plain, []byte("hello")) {
			t.Errorf("%s: %q, %v", m, plain, err)
		}
	}
}

// The header of the answer and everything behind it goes through byte by byte, and no other.
func TestAnswersAreChecked(t *testing.T) {
	for _, m := range methods() {
		answer, client := answered(t, m)
		got, err := io.ReadAll(client(answer, clock))
		if string(got) != "world" || err != nil {
			t.Fatalf("%s: %q, %v", m, got, err)
		}
		for i := 1; i < len(answer); i++ {
			if got, err := io.ReadAll(client(answer[:i], clock)); len(got) > 0 || err != io.ErrUnexpectedEOF {
				t.Fatalf("%s: %d bytes: %q, %v", m, i, got, err)
			}
			changed := []byte(answer)
			changed[i] ^= 1
			if got, err := io.ReadAll(client(string(changed), clock)); len(got) > 0 || err == nil {
				t.Fatalf("%s: byte %d changed: %q, %v", m, i, got, err)
			}
		}
		late := func() int64 { return someTime + Window + 1 }
		if _, err := client(answer, late).Read(make([]byte, 1)); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: an answer of another time: %v", m, err)
		}
		_, other := answered(t, m)
		if _, err := other(answer, clock).Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: an answer to another request is taken", m)
		}
	}
}

// answered is a server's answer "world" to a request, and the client that sent that.
func answered(t testing.TB, m Method) (string, func(answer string, unix func() int64) io.Reader) {
	t.Helper()
	key, salt := bytes.Repeat([]byte{1}, m.KeySize()), random(m.KeySize())
	c := NewChain(m, key)
	r, _, err := OpenRequest(m, key, SealRequest(nil, c, salt, someTime, destination, 1, nil), false)
	if err != nil {
		t.Fatal(err)
	}
	fake := wiretest.New(strings.NewReader(""))
	if _, err := NewServerConn(fake, m, key, r, random(m.KeySize()), clock, nil).Write([]byte("world")); err != nil {
		t.Fatal(err)
	}
	return fake.Writes()[0], func(answer string, unix func() int64) io.Reader {
		var conn wire.Conn = wiretest.New(strings.NewReader(answer))
		return NewClientConn(conn, c, salt, destination, 1, unix, nil)
	}
}

// Whatever a server answers, nothing is delivered that was not sealed for the request.
func FuzzAnswer(f *testing.F) {
	good, client := answered(f, AES128GCM)
	f.Add([]byte(good))
	f.Add([]byte(good[:40]))
	f.Fuzz(func(t *testing.T, in []byte) {
		if got, err := io.ReadAll(client(string(in), clock)); len(got) > 0 && !bytes.HasPrefix(in, []byte(good)) {
			t.Errorf("%q came out, %v", got, err)
		}
	})
}
