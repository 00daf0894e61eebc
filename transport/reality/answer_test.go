package reality

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	utls "github.com/metacubex/utls"
)

var bothGroups = []utls.CurveID{utls.X25519, utls.X25519MLKEM768}

// answerOf is the ServerHello of a site of Go to u, in its record.
func answerOf(t testing.TB, u user) []byte {
	t.Helper()
	c, err := net.Dial("tcp", newTarget(t, nil).Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(helloOf(t, u)); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, recordHeader)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatal(err)
	}
	record := append(head, make([]byte, binary.BigEndian.Uint16(head[3:]))...)
	if _, err := io.ReadFull(c, record[recordHeader:]); err != nil {
		t.Fatal(err)
	}
	return record
}

// serverHello builds one with the given suite, extensions and key share.
func serverHello(suite uint16, extensions string) []byte {
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x01s" + string([]byte{byte(suite >> 8), byte(suite), 0})
	if extensions != "" {
		body += string([]byte{byte(len(extensions) >> 8), byte(len(extensions))}) + extensions
	}
	msg := string([]byte{2, 0, byte(len(body) >> 8), byte(len(body))}) + body
	return []byte(string([]byte{22, 3, 3, byte(len(msg) >> 8), byte(len(msg))}) + msg)
}

func TestServerHello(t *testing.T) {
	const tls13 = "\x00\x2b\x00\x02\x03\x04"
	x25519 := "\x00\x33\x00\x24\x00\x1d\x00\x20" + strings.Repeat("k", 32)
	for _, tt := range []struct {
		name   string
		record []byte
		groups []utls.CurveID
		want   string // part of the error; "" is none
	}{
		{"Go, post-quantum", answerOf(t, user{}), bothGroups, ""},
		{"Go", answerOf(t, user{without: utls.X25519MLKEM768}), bothGroups[:1], ""},
		{"made", serverHello(0x1301, tls13+x25519), bothGroups, ""},
		{"TLS 1.2", serverHello(0xc02f, ""), bothGroups, "TLS 1.3"},
		{"group that the client has not", serverHello(0x1301, tls13+x25519), bothGroups[1:], "key exchange 0x1d"},
		{"retry", serverHello(0x1301, tls13+"\x00\x33\x00\x02\x00\x17"), bothGroups, "HelloRetryRequest for group 0x17"},
		{"suite", serverHello(0x1304, tls13+x25519), bothGroups, "cipher suite 0x1304"},
		{"short share", serverHello(0x1301, tls13+"\x00\x33\x00\x05\x00\x1d\x00\x01k"), bothGroups, "key exchange"},
		{"no share", serverHello(0x1301, tls13), bothGroups, "no ServerHello"},
		{"cut extensions", serverHello(0x1301, tls13+"\x00\x33\x00\x24\x00"), bothGroups, "no ServerHello"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.record {
				if _, err := serverHelloSize(tt.record[:i]); !errors.Is(err, errShort) {
					t.Fatalf("prefix of %d bytes: %v", i, err)
				}
			}
			if n, err := serverHelloSize(append(tt.record, "more"...)); n != len(tt.record) || err != nil {
				t.Fatalf("size %d, %v", n, err)
			}
			err := checkServerHello(tt.record, tt.groups)
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("err = %v", err)
			}
		})
	}
	for _, in := range []string{"HTTP/", "\x15\x03\x03\x00\x02", "\x16\x03\x03\xff\xff"} {
		if _, err := serverHelloSize([]byte(in)); !errors.Is(err, ErrTarget) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func FuzzServerHello(f *testing.F) {
	f.Add(answerOf(f, user{}))
	f.Add(answerOf(f, user{without: utls.X25519MLKEM768}))
	f.Add(serverHello(0xc02f, ""))
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := serverHelloSize(in)
		if err != nil {
			return
		}
		if n > len(in) {
			t.Fatalf("%d of %d bytes", n, len(in))
		}
		// What passes has a share for a group that the client has: utls relies on it.
		if checkServerHello(in[:n], bothGroups[:1]) == nil && checkServerHello(in[:n], nil) == nil {
			t.Error("a share for no group passes")
		}
	})
}
