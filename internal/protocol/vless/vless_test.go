package vless

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"
)

const (
	rawUUID = "\x66\xad\x45\x40\xb5\x8c\x4a\xd2\x99\x26\xea\x63\x44\x5a\x9b\x57"
	v4      = "\x01\x00\x50\x01\x01\x02\x03\x04" // command TCP to 1.2.3.4:80
)

func TestParseRequest(t *testing.T) {
	head := "\x00" + rawUUID
	vision := "\x12\x0a\x10xtls-rprx-vision"
	for _, tt := range []struct {
		name, in string
		flow     string
		command  Command
		dst      string
		err      error
	}{
		{"ipv4", head + "\x00" + v4, "", CommandTCP, "1.2.3.4:80", nil},
		{"host", head + "\x00\x02\x01\xbb\x02\x04a.io", "", CommandUDP, "a.io:443", nil},
		{"literal", head + "\x00\x01\x01\xbb\x02\x07::1:2:3", "", CommandTCP, "[::1:2:3]:443", nil},
		{"mux has no address", head + "\x00\x03", "", CommandMux, "v1.mux.cool:0", nil},
		{"vision", head + vision + v4, FlowVision, CommandTCP, "1.2.3.4:80", nil},
		{"other flow", head + "\x05\x0a\x03abc" + v4, "abc", CommandTCP, "1.2.3.4:80", nil},
		{"empty flow", head + "\x02\x0a\x00" + v4, "", CommandTCP, "1.2.3.4:80", nil},
		{"seed is skipped", head + "\x04\x12\x02\xff\xfe" + v4, "", CommandTCP, "1.2.3.4:80", nil},
		{"unknown varint", head + "\x06\x18\x96\x01\x0a\x01f" + v4, "f", CommandTCP, "1.2.3.4:80", nil},
		{"unknown fixed64", head + "\x0c\x0a\x01f\x2112345678" + v4, "f", CommandTCP, "1.2.3.4:80", nil},
		{"unknown fixed32", head + "\x05\x251234" + v4, "", CommandTCP, "1.2.3.4:80", nil},
		{"flow as varint is unknown", head + "\x02\x08\x05" + v4, "", CommandTCP, "1.2.3.4:80", nil},
		{"last flow counts", head + "\x06\x0a\x01a\x0a\x01b" + v4, "b", CommandTCP, "1.2.3.4:80", nil},

		{"version", "\x01", "", 0, "", ErrBadRequest},
		{"prober", "GET / HTTP/1.1\r\n\r\n", "", 0, "", ErrBadRequest},
		{"field over the end", head + "\x02\x0a\x05" + v4, "", 0, "", ErrBadRequest},
		{"cut tag", head + "\x01\x80" + v4, "", 0, "", ErrBadRequest},
		{"cut varint", head + "\x02\x18\x80" + v4, "", 0, "", ErrBadRequest},
		{"cut fixed64", head + "\x02\x21a" + v4, "", 0, "", ErrBadRequest},
		{"group", head + "\x01\x1b" + v4, "", 0, "", ErrBadRequest},
		{"huge length", head + "\x0b\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + v4, "", 0, "", ErrBadRequest},
		{"command 0", head + "\x00\x00", "", 0, "", ErrBadRequest},
		{"command reverse", head + "\x00\x04", "", 0, "", ErrBadRequest},
		{"address type", head + "\x00\x01\x00\x50\x04", "", 0, "", ErrBadRequest},
		{"empty host", head + "\x00\x01\x00\x50\x02\x00", "", 0, "", ErrBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, n, err := ParseRequest([]byte(tt.in + "payload"))
			if !errors.Is(err, tt.err) {
				t.Fatalf("err = %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if string(req.UUID[:]) != rawUUID {
				t.Errorf("uuid = %x, want %x", req.UUID, rawUUID)
			}
			if req.Flow != tt.flow || req.Command != tt.command || req.Destination.String() != tt.dst {
				t.Errorf("got %q %d %s, want %q %d %s", req.Flow, req.Command, req.Destination, tt.flow, tt.command, tt.dst)
			}
			if n != len(tt.in) {
				t.Errorf("length = %d, want %d", n, len(tt.in))
			}
			for i := range n { // every prefix asks for more, none panics
				if _, _, err := ParseRequest([]byte(tt.in[:i])); !errors.Is(err, ErrShort) {
					t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
				}
			}
		})
	}
}

func TestRouteKey(t *testing.T) {
	uuid := UUID([]byte(rawUUID))
	key := RouteKey(uuid)
	if got, want := hex.EncodeToString(key[:]), "66ad4540b58c00009926ea63445a9b57"; got != want {
		t.Errorf("key = %s, want %s", got, want)
	}
	uuid[6], uuid[7] = 1, 187 // what a client's "vlessRoute" does
	if RouteKey(uuid) != key {
		t.Error("the route number changed the key")
	}
}

func TestAppendRequest(t *testing.T) {
	req := Request{UUID: UUID([]byte(rawUUID)), Flow: FlowVision, Command: CommandTCP, Destination: M.ParseSocksaddr("a.io:443")}
	want := "0066ad4540b58c4ad29926ea63445a9b57120a1078746c732d727072782d766973696f6e0101bb0204612e696f"
	if got := hex.EncodeToString(AppendRequest(nil, req)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	req.Flow = strings.Repeat("f", MaxFlow)
	if got, _, err := ParseRequest(AppendRequest(nil, req)); err != nil || got != req {
		t.Errorf("longest flow came back as %v, %v", got, err)
	}
	req.Flow += "f"
	if got, _, err := ParseRequest(AppendRequest(nil, req)); err != nil || got.Flow != "" {
		t.Errorf("too long a flow came back as %q, %v", got.Flow, err)
	}
	req = Request{UUID: req.UUID, Command: CommandMux}
	if got := AppendRequest(nil, req); len(got) != 19 {
		t.Errorf("mux request of %d bytes, want 19", len(got))
	}
}

func TestParseRequestAllocs(t *testing.T) {
	in := AppendRequest(nil, Request{Flow: FlowVision, Command: CommandTCP, Destination: M.ParseSocksaddr("1.2.3.4:443")})
	if n := testing.AllocsPerRun(100, func() { _, _, _ = ParseRequest(in) }); n != 0 {
		t.Errorf("request: %v allocations, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _, _ = ParseRequest([]byte("GET / HTTP/1.1")) }); n != 0 {
		t.Errorf("prober: %v allocations, want 0", n)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("\x00" + rawUUID + "\x00" + v4))
	f.Add([]byte("\x00" + rawUUID + "\x12\x0a\x10xtls-rprx-vision\x01\x01\xbb\x02\x04a.io"))
	f.Add([]byte("\x00" + rawUUID + "\x06\x18\x96\x01\x0a\x01f\x03"))
	f.Add([]byte("\x00" + rawUUID + "\x02\x0a\x05" + v4))
	f.Fuzz(func(t *testing.T, in []byte) {
		req, n, err := ParseRequest(in)
		if err != nil {
			return
		}
		if _, _, err := ParseRequest(in[:n-1]); !errors.Is(err, ErrShort) {
			t.Errorf("one byte less: %v, want ErrShort", err)
		}
		if again, m, err := ParseRequest(bytes.Clone(in[:n])); err != nil || m != n || again != req {
			t.Errorf("reads over its end: %v", err)
		}
		if len(req.Flow) > MaxFlow { // with an overlong length, which we never write
			return
		}
		out := AppendRequest(nil, req)
		again, m, err := ParseRequest(out)
		if err != nil || m != len(out) || again != req {
			t.Fatalf("came back as %v, %d of %d bytes, %v; was %v", again, m, len(out), err, req)
		}
		if twice := AppendRequest(nil, again); !bytes.Equal(twice, out) {
			t.Errorf("not canonical:\n got %q\nwant %q", twice, out)
		}
	})
}

func BenchmarkParseRequest(b *testing.B) { // 0 allocs; TestParseRequestAllocs pins them
	in := AppendRequest(nil, Request{Flow: FlowVision, Command: CommandTCP, Destination: M.ParseSocksaddr("1.2.3.4:443")})
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = ParseRequest(in)
	}
}
