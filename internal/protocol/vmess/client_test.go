package vmess

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/wire/wiretest"
)

// What a client asks for is what a server reads, whatever was asked.
func TestClientRequest(t *testing.T) {
	dst := M.ParseSocksaddr("example.com:443")
	for _, name := range []string{"auto", "none", "zero", "aes-128-gcm", "chacha20-poly1305"} {
		security, options, err := ParseSecurity(name, true)
		if err != nil {
			t.Fatal(err)
		}
		c := NewClient(goldenUUID, security, options)
		for _, command := range []Command{CommandTCP, CommandUDP, CommandMux} {
			seen := make(map[[16]byte]bool)
			for range 20 {
				s, request := c.Request(command, dst, goldenTime, rand.Reader)
				got, rest := openGolden(t, string(request))
				if s.Command = command; command == CommandMux {
					s.Destination = M.Socksaddr{Fqdn: MuxHost}
				}
				if got != s || rest != "" {
					t.Fatalf("%s: asked for %+v, read %+v", name, s, got)
				}
				if seen[s.Key] || seen[s.IV] {
					t.Fatalf("%s: a key comes twice", name)
				}
				seen[s.Key], seen[s.IV] = true, true
			}
		}
	}
	if security, _, _ := ParseSecurity("auto", false); security != SecurityChaCha {
		t.Errorf("auto without instructions for AES is %s", security)
	}
	if _, _, err := ParseSecurity("aes-128-cfb", true); err == nil {
		t.Error("a legacy security is taken")
	}
}

// A client says nothing before the first write, and sends its request alone when it is told to.
func TestFlush(t *testing.T) {
	for _, v := range variants() {
		fake := wiretest.New(strings.NewReader(""))
		c := NewClientConn(fake, v.s, []byte("head"), new(testPool))
		for range 2 {
			if err := c.Flush(); err != nil || len(fake.Writes()) != 1 || fake.Writes()[0] != "head" {
				t.Fatalf("%s: %q, %v", v.name, fake.Writes(), err)
			}
		}
		fake = wiretest.New(strings.NewReader(""))
		fake.FailWrites(io.ErrClosedPipe)
		if err := NewClientConn(fake, v.s, []byte("head"), nil).Flush(); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s: %v", v.name, err)
		}
	}
}

// Whatever a server answers, a client delivers nothing before a header that is its own, and the same
// however the bytes arrive.
func FuzzAnswer(f *testing.F) {
	for i, v := range variants() {
		fake := wiretest.New(strings.NewReader(""))
		server := NewServerConn(fake, v.s, nil)
		if _, err := server.Write([]byte("world")); err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), []byte(strings.Join(fake.Writes(), "")), uint16(7))
	}
	f.Fuzz(func(t *testing.T, way uint8, in []byte, step uint16) {
		s := fuzzSession(way)
		one, err1 := io.ReadAll(NewClientConn(shallow(bytes.NewReader(in)), s, nil, new(testPool)))
		cut := &steps{r: bytes.NewReader(in), n: int(step) + 1}
		two, err2 := io.ReadAll(NewClientConn(newDeep(cut), s, nil, new(testPool)))
		if !bytes.Equal(one, two) || (err1 == nil) != (err2 == nil) {
			t.Errorf("%d bytes, %v and %d bytes, %v", len(one), err1, len(two), err2)
		}
		if len(one) > 0 && s.Legacy {
			return // a header without a tag
		}
		if n, err := s.openResponse(in); len(one) > 0 && (err != nil || n > len(in)) {
			t.Errorf("%d bytes behind no header: %v", len(one), err)
		}
	})
}

func BenchmarkClientRequest(b *testing.B) {
	c := NewClient(goldenUUID, SecurityGCM, masked)
	dst := M.ParseSocksaddr("example.com:443")
	b.ReportAllocs()
	for b.Loop() {
		c.Request(CommandTCP, dst, goldenTime, rand.Reader)
	}
}
