package anytls

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	"go.uber.org/goleak"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/inbound/inboundtest"
	"heki/internal/protocol/address"
	"heki/internal/protocol/anytls"
	"heki/option"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func account(i int) adapter.Account {
	name := string(rune('a' + i))
	return adapter.Account{ID: int64(i + 1), Name: name, Password: "password of " + name}
}

func auth(a adapter.Account) []byte {
	return anytls.AppendAuth(nil, anytls.Auth{Key: anytls.KeyOf(a.Password)})
}

// frame encodes one frame.
func frame(b []byte, c anytls.Command, id uint32, data string) []byte {
	return append(anytls.AppendFrame(b, anytls.Frame{Command: c, Stream: id, Length: len(data)}), data...)
}

var protocol = inboundtest.Protocol{
	Type:        constant.TypeAnyTLS,
	Register:    Register,
	Options:     func(s option.Stream) option.InboundOptions { return &option.AnyTLS{Stream: s} },
	Account:     account,
	Header:      func(a adapter.Account, _ net.Addr) []byte { return auth(a) },
	NoHalfClose: true,
	Stream: func(a adapter.Account, dst net.Addr, conn inboundtest.Conn) inboundtest.Conn {
		b := frame(auth(a), anytls.CommandSettings, 0, "v=2")
		b = frame(b, anytls.CommandSYN, 1, "")
		b = frame(b, anytls.CommandPSH, 1, string(address.AppendS(nil, M.SocksaddrFromNet(dst))))
		return &stream{Conn: conn, first: b, r: bufio.NewReader(conn)}
	},
}

// stream is stream 1 of a client's session, whose start goes out with the first write.
type stream struct {
	inboundtest.Conn
	first []byte
	r     *bufio.Reader
	left  int
}

func (s *stream) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		chunk := min(len(p), 65535)
		_, err = s.Conn.Write(frame(s.first, anytls.CommandPSH, 1, string(p[:chunk])))
		s.first, p = nil, p[chunk:]
		n += chunk
	}
	return n, err
}

func (s *stream) Read(p []byte) (int, error) {
	for s.left == 0 {
		head := make([]byte, 7)
		if _, err := io.ReadFull(s.r, head); err != nil {
			return 0, err
		}
		f, _, err := anytls.ParseFrame(head)
		if err != nil {
			return 0, err
		}
		switch f.Command {
		case anytls.CommandPSH:
			s.left = f.Length
		case anytls.CommandFIN:
			return 0, io.EOF
		default:
			if _, err := s.r.Discard(f.Length); err != nil {
				return 0, err
			}
		}
	}
	n, err := s.r.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

func TestConformance(t *testing.T) { inboundtest.Run(t, protocol) }

// certificate is a self-signed one in the form of the options.
func certificate(t testing.TB) *option.TLS {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return &option.TLS{
		Enabled:     true,
		Certificate: option.Listable[string]{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))},
		Key:         option.Listable[string]{string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))},
	}
}

// dialTLS opens a TLS connection to s.
func dialTLS(t *testing.T, s *inboundtest.Server) *tls.Conn {
	t.Helper()
	c := tls.Client(s.Dial(t), &tls.Config{InsecureSkipVerify: true})
	t.Cleanup(func() { c.Close() })
	return c
}

// Whoever is not a user finds a web server, however little or much he says first.
func TestProbesFindAWebServer(t *testing.T) {
	o := option.Stream{TLS: certificate(t)}
	o.HandshakeTimeout = option.Duration(time.Minute) // nobody is to wait for it
	s := inboundtest.Start(t, protocol, o, 1)
	stranger := string(auth(account(7)))
	for name, first := range map[string]string{
		"short request": "GET / HTTP/1.0\r\n\r\n", // less than a key
		"request":       "GET /index.html HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n",
		"zeros":         strings.Repeat("\x00", 200),
		"stranger":      stranger,
		"part of a key": string(auth(account(0)))[:33] + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := dialTLS(t, s)
			start := time.Now()
			if _, err := io.WriteString(c, first); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if name == "part of a key" { // 33 bytes of a user's key and the end of a request: no user
				if err == nil && resp.StatusCode != http.StatusBadRequest {
					t.Errorf("status %d", resp.StatusCode)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusNotFound {
				t.Errorf("status %d", resp.StatusCode)
			}
			if took := time.Since(start); took > time.Duration(o.HandshakeTimeout)/2 {
				t.Errorf("answered after %s", took)
			}
		})
	}
}

// A session ends with its user although no stream is open; others live on.
func TestSwapEndsIdleSessions(t *testing.T) {
	s := inboundtest.Start(t, protocol, inboundtest.Waiting(time.Minute), 0)
	users := inboundtest.Users(protocol, 2)
	if err := s.Swap(users); err != nil {
		t.Fatal(err)
	}
	settings := frame(nil, anytls.CommandSettings, 0, "v=2")
	heart := frame(nil, anytls.CommandHeartRequest, 0, "")
	open := func(i int) (net.Conn, *bufio.Reader) {
		c := s.Dial(t)
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write(append(auth(account(i)), settings...)); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		if _, err := r.Peek(1); err != nil {
			t.Fatal(err)
		}
		return c, r
	}
	_, gone := open(0)
	stays, answers := open(1)
	limited := *users[1] // another limit, the same account
	limited.SpeedBytes = 1000
	if err := s.Swap([]*adapter.User{&limited}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, gone); err != nil {
		t.Error(err)
	}
	if _, err := io.CopyN(io.Discard, answers, int64(answers.Buffered())); err != nil {
		t.Fatal(err)
	}
	if _, err := stays.Write(heart); err != nil {
		t.Fatal(err)
	}
	for {
		head := make([]byte, 7)
		if _, err := io.ReadFull(answers, head); err != nil {
			t.Fatal(err)
		}
		f, _, _ := anytls.ParseFrame(head)
		if f.Command == anytls.CommandHeartResponse {
			return
		}
		_, _ = answers.Discard(f.Length)
	}
}

func TestMistakes(t *testing.T) {
	env := inbound.Env{Log: slog.New(slog.DiscardHandler)}
	if _, err := New(env, "in", &option.AnyTLS{PaddingScheme: []string{"0=30-30"}}); err == nil || !strings.Contains(err.Error(), "padding_scheme: has no stop") {
		t.Error(err)
	}
	in := new(Inbound)
	if err := in.SwapUsers([]*adapter.User{{Account: adapter.Account{Name: "alice"}}}); err == nil || !strings.Contains(err.Error(), `"alice": has no password`) {
		t.Error(err)
	}
}
