package vmess

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire/wiretest"
)

func packetOf(p []byte) *buf.Buffer {
	b := buf.NewSize(testRoom + len(p) + testRoom)
	b.Resize(testRoom, 0)
	b.Write(p)
	return b
}

// Packets keep their borders in both directions, whatever their size.
func TestPackets(t *testing.T) {
	sent := [][]byte{payload(1), payload(1400), payload(maxChunk + 1), payload(MaxPacket), []byte("last")}
	for _, v := range variants() {
		if v.s.Command != CommandUDP {
			continue
		}
		fake := wiretest.New(strings.NewReader(""))
		client := NewPacketConn(NewClientConn(fake, v.s, nil, new(testPool)), v.s.Destination)
		for _, p := range sent {
			if err := client.WritePacket(packetOf(p), M.Socksaddr{}); err != nil {
				t.Fatal(err)
			}
		}
		for _, dropped := range [][]byte{nil, payload(MaxPacket + 1)} {
			if err := client.WritePacket(packetOf(dropped), M.Socksaddr{}); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(fake.Writes()); n != len(sent) {
			t.Errorf("%s: %d writes for %d packets", v.name, n, len(sent))
		}
		up := strings.Join(fake.Writes(), "")
		for name, source := range sources() {
			pool := new(testPool)
			c := NewPacketConn(NewServerConn(source(strings.NewReader(up)), v.s, pool), v.s.Destination)
			c.InitializeReadWaiter(N.ReadWaitOptions{})
			for i, want := range sent {
				b, dst, err := c.WaitReadPacket()
				if err != nil || dst != v.s.Destination || !bytes.Equal(b.Bytes(), want) {
					t.Fatalf("%s, %s: packet %d to %s: %v", v.name, name, i, dst, err)
				}
				pool.Put(b)
			}
			if _, _, err := c.WaitReadPacket(); err != io.EOF {
				t.Errorf("%s: after the last packet: %v", v.name, err)
			}
			if pool.out != 0 {
				t.Errorf("%s: %d buffers are out", v.name, pool.out)
			}
		}
	}
}

// A packet too large for its reader is lost, as on a socket.
func TestSmallReader(t *testing.T) {
	s := Session{Request: testRequest()}
	s.Command = CommandUDP
	fake := wiretest.New(strings.NewReader(""))
	client := NewPacketConn(NewClientConn(fake, s, nil, nil), s.Destination)
	for _, p := range []string{"too large", "fits"} {
		if err := client.WritePacket(packetOf([]byte(p)), M.Socksaddr{}); err != nil {
			t.Fatal(err)
		}
	}
	late := &pauses{r: strings.NewReader(strings.Join(fake.Writes(), ""))}
	c := NewPacketConn(NewServerConn(newDeep(late), s, nil), s.Destination)
	b := buf.NewSize(4)
	defer b.Release()
	for {
		dst, err := c.ReadPacket(b)
		if err == os.ErrDeadlineExceeded {
			continue
		}
		if err != nil || dst != s.Destination || string(b.Bytes()) != "fits" {
			t.Errorf("%q, %v", b.Bytes(), err)
		}
		return
	}
}
