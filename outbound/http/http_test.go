package http

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"heki/internal/netio"
	"heki/option"
	"heki/outbound/internal/outboundtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "a secret"

func newOutbound(t testing.TB, at option.Remote) *Outbound {
	t.Helper()
	o := option.HTTPOutbound{
		Remote: at, Username: "user", Password: password,
		Headers: map[string]option.Listable[string]{"X-B": {"1", "2"}, "X-A": {"0"}},
	}
	if err := o.Validate("x"); err != nil {
		t.Fatal(err)
	}
	out, err := New(outboundtest.Env(nil), "out", &o)
	if err != nil {
		t.Fatal(err)
	}
	return out.(*Outbound)
}

// proxy answers every request with answer and echoes what comes after.
func proxy(t testing.TB, answer string) option.Remote {
	return outboundtest.Serve(t, func(c *netio.Conn) error {
		b, err := c.Peek(1)
		for err == nil && !bytes.HasSuffix(b, []byte("\r\n\r\n")) {
			b, err = c.PeekMore()
		}
		if err != nil {
			return err
		}
		want := "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n" +
			"Proxy-Authorization: Basic dXNlcjphIHNlY3JldA==\r\nX-A: 0\r\nX-B: 1\r\nX-B: 2\r\n\r\n"
		if string(b) != want {
			t.Errorf("got  %q\nwant %q", b, want)
		}
		_, _ = c.Discard(len(b))
		if _, err := io.WriteString(c, answer); err != nil {
			return err
		}
		_, _ = io.Copy(c, c) // the test ends it
		return nil
	})
}

func TestConnect(t *testing.T) {
	for _, before := range []string{"", "HTTP/1.1 100 Continue\r\n\r\n"} {
		at := proxy(t, before+"HTTP/1.1 200 OK\r\nX: y\r\n\r\n220 the server speaks first")
		c := outboundtest.Dial(t, newOutbound(t, at), "example.com:443")
		outboundtest.Says(t, c, "220 the server speaks first")
		_, _ = io.WriteString(c, "hello")
		outboundtest.Says(t, c, "hello")
	}
}

func TestRefusals(t *testing.T) {
	to := outboundtest.To("example.com:443")
	for answer, words := range map[string]string{
		"HTTP/1.1 407 No\r\n\r\n":   "credentials",
		"HTTP/1.1 503 Down\r\n\r\n": `503 "Down"`,
		"SSH-2.0":                   "not an answer",
		strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1+maxInterim): "not an answer",
	} {
		at := proxy(t, answer)
		outboundtest.Fails(t, newOutbound(t, at), to, password, "server 127.0.0.1:", words)
	}
	outboundtest.Fails(t, newOutbound(t, outboundtest.Refused(t)), to, password, "server 127.0.0.1:", "refused")
	end := outboundtest.Serve(t, func(*netio.Conn) error { return nil })
	outboundtest.Fails(t, newOutbound(t, end), to, password, "server 127.0.0.1:")
	if _, err := newOutbound(t, end).ListenPacket(t.Context(), to); !errors.Is(err, ErrNoUDP) {
		t.Errorf("packets: %v", err)
	}
}
