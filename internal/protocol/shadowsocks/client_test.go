package shadowsocks

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire/wiretest"
)

// The destination goes out in one chunk with what is written first, however that is written.
func TestClientSaysWhereFirst(t *testing.T) {
	dst := M.ParseSocksaddr("example.com:443")
	long := M.Socksaddr{Fqdn: strings.Repeat("a", address.MaxHost), Port: 1}
	for _, m := range methods() {
		k := NewKey(m, "password")
		for _, tt := range []struct {
			name    string
			dst     M.Socksaddr
			payload []byte
			send    func(c *Conn, p []byte) error
		}{
			{"write", dst, []byte("hello"), func(c *Conn, p []byte) error { _, err := c.Write(p); return err }},
			{"write of nothing", dst, nil, func(c *Conn, p []byte) error { _, err := c.Write(p); return err }},
			{"half-close", dst, nil, func(c *Conn, _ []byte) error { return c.CloseWrite() }},
			{"buffer", dst, []byte("hello"), func(c *Conn, p []byte) error { return c.WriteBuffer(buf.As(p)) }},
			{"long write", long, random(100_000), func(c *Conn, p []byte) error { _, err := c.Write(p); return err }},
			{"full chunk", long, random(MaxPayload), func(c *Conn, p []byte) error { return c.WriteBuffer(buf.As(p)) }},
		} {
			fake := wiretest.New(strings.NewReader(""))
			c := NewClientConn(fake, m, k, random(m.KeySize()), tt.dst, nil)
			if !c.NeedHandshakeForWrite() {
				t.Errorf("%s: the destination is out already", tt.name)
			}
			if err := tt.send(c, bytes.Clone(tt.payload)); err != nil || c.NeedHandshakeForWrite() {
				t.Fatalf("%s: %v", tt.name, err)
			}
			first := min(len(tt.payload), MaxPayload-address.Size(tt.dst))
			if n := m.KeySize() + sealedLength + address.Size(tt.dst) + first + TagSize; len(fake.Writes()[0]) != n {
				t.Errorf("%s: %s: the first write has %d bytes, want %d", m, tt.name, len(fake.Writes()[0]), n)
			}
			got, err := io.ReadAll(accept(t, wiretest.New(strings.NewReader(strings.Join(fake.Writes(), ""))), m, k))
			if want := append(address.AppendS(nil, tt.dst), tt.payload...); !bytes.Equal(got, want) || err != nil {
				t.Errorf("%s: %s: %d bytes, want %d, %v", m, tt.name, len(got), len(want), err)
			}
		}
	}
}

func TestClientThatCannotWrite(t *testing.T) {
	const m = AES128GCM
	fake := wiretest.New(strings.NewReader(""))
	fake.FailWrites(net.ErrClosed)
	c := NewClientConn(fake, m, NewKey(m, "password"), random(m.KeySize()), M.ParseSocksaddr("192.0.2.1:1"), nil)
	if err := c.CloseWrite(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("half-close: %v", err)
	}
	c = NewClientConn(fake, m, NewKey(m, "password"), random(m.KeySize()), M.ParseSocksaddr("192.0.2.1:1"), nil)
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write: %v", err)
	}
}

// Whatever a server answers, nothing is delivered that was not sealed with the key.
func FuzzAnswer(f *testing.F) {
	const m = AES128GCM
	k := NewKey(m, "password")
	fake := wiretest.New(strings.NewReader(""))
	salt := make([]byte, m.KeySize()) // the same in each of the processes that fuzz
	if _, err := newClientConn(fake, m, k, salt, SaltPreface(salt), nil).Write([]byte("hello")); err != nil {
		f.Fatal(err)
	}
	good := fake.Writes()[0]
	f.Add([]byte(good))
	f.Add([]byte(good[:m.KeySize()]))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := plainClient(wiretest.New(bytes.NewReader(in)), m, k)
		if got, err := io.ReadAll(c); len(got) > 0 && !bytes.HasPrefix(in, []byte(good)) {
			t.Errorf("%q came out, %v", got, err)
		}
	})
}
