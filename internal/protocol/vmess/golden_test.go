package vmess

import (
	"encoding/hex"
	"io"
	"strings"
	"testing"

	"heki/internal/protocol/wire/wiretest"
)

// The time of testdata/vectors.txt, and the user of protocols.md Appendix B.
const goldenTime = 1795378080

var goldenUUID = UUID(unhex("66ad4540b58c4ad29926ea63445a9b57"))

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// openGolden decodes the request at the start of in, of either way, as a server does.
func openGolden(t *testing.T, in string) (Session, string) {
	t.Helper()
	cmdKey := CmdKey(goldenUUID)
	b := []byte(in)
	unix, ok := OpenAuthID(NewAuthIDCipher(cmdKey), b[:AuthIDSize], new([AuthIDSize]byte))
	if ok {
		req, n, err := OpenRequest(b, cmdKey)
		if err != nil || unix < goldenTime-Window || unix > goldenTime+Window {
			t.Fatalf("request of %d: %v", unix, err)
		}
		return Session{Request: req}, in[n:]
	}
	id := NewLegacyID(AlterID(goldenUUID))
	for unix := int64(goldenTime - Window); unix <= goldenTime+Window; unix++ {
		var sum [AuthIDSize]byte
		if id.Auth(unix, &sum); sum != [AuthIDSize]byte(b) {
			continue
		}
		req, n, err := OpenLegacyRequest(b, cmdKey, unix)
		if err != nil {
			t.Fatal(err)
		}
		return Session{Request: req, Legacy: true}, in[n:]
	}
	t.Fatal("nobody's auth id")
	return Session{}, ""
}

const (
	masked = OptionChunkStream | OptionChunkMasking
	padded = masked | OptionGlobalPadding
	sealed = padded | OptionAuthenticatedLength
)

func TestGoldenStreams(t *testing.T) {
	for _, tt := range []struct {
		name     string
		security Security
		options  Options
		command  Command
		legacy   bool
	}{
		{"xray-gcm", SecurityGCM, padded, CommandTCP, false},
		{"xray-gcm-authlen", SecurityGCM, sealed, CommandTCP, false},
		{"xray-chacha", SecurityChaCha, masked, CommandTCP, false},
		{"xray-chacha-authlen", SecurityChaCha, sealed, CommandTCP, false},
		{"xray-none", SecurityNone, padded, CommandTCP, false},
		{"xray-zero", SecurityNone, 0, CommandTCP, false},
		{"xray-none-udp", SecurityNone, padded, CommandUDP, false},
		{"xray-gcm-udp", SecurityGCM, padded, CommandUDP, false},
		{"xray-gcm-mux", SecurityGCM, padded, CommandMux, false},
		{"sing-gcm", SecurityGCM, masked, CommandTCP, false},
		{"sing-gcm-authlen", SecurityGCM, sealed, CommandTCP, false},
		{"sing-chacha", SecurityChaCha, padded, CommandTCP, false},
		{"sing-zero", SecurityNone, 0, CommandTCP, false},
		{"sing-cfb", SecurityLegacy, OptionChunkStream, CommandTCP, false},
		{"sing-none-udp", SecurityNone, OptionChunkStream, CommandUDP, false},
		{"sing-gcm-udp", SecurityGCM, masked, CommandUDP, false},
		{"sing-legacy-gcm", SecurityGCM, masked, CommandTCP, true},
		{"sing-legacy-chacha", SecurityChaCha, masked, CommandTCP, true},
		{"sing-legacy-cfb", SecurityLegacy, OptionChunkStream, CommandTCP, true},
		{"sing-legacy-cfb-udp", SecurityLegacy, OptionChunkStream, CommandUDP, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := wiretest.Vector(t, "vmess", tt.name+"-request")
			s, rest := openGolden(t, request)
			dst := "example.com:443"
			if tt.command == CommandMux {
				dst = "v1.mux.cool:0"
			}
			if s.Security != tt.security || s.Options != tt.options || s.Command != tt.command || s.Legacy != tt.legacy || s.Destination.String() != dst {
				t.Fatalf("request %+v", s)
			}
			up, down := "hellomore", "answer"
			if strings.HasPrefix(tt.name, "sing") {
				up, down = "hellohello", "hellohello"
			}
			in := NewServerConn(wiretest.New(strings.NewReader(rest)), s, nil)
			if got, err := io.ReadAll(in); string(got) != up || err != nil {
				t.Errorf("request's body %q, %v", got, err)
			}
			head := request[:len(request)-len(rest)]
			response := wiretest.Vector(t, "vmess", tt.name+"-response")
			out := NewClientConn(wiretest.New(strings.NewReader(response)), s, []byte(head), nil)
			if got, err := io.ReadAll(out); string(got) != down || err != nil {
				t.Errorf("response's body %q, %v", got, err)
			}
		})
	}
}
