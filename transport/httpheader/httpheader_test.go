package httpheader

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"heki/option"
	"heki/transport/internal/http1"
	"heki/transport/internal/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// head is what Xray's client sends by default.
const head = "GET /b HTTP/1.1\r\nHost: www.baidu.com\r\nUser-Agent: Mozilla/5.0\r\nAccept-Encoding: gzip, deflate\r\n" +
	"Connection: keep-alive\r\nPragma: no-cache\r\n"

func newServer(t testing.TB, o option.Transport) *Server {
	t.Helper()
	s, err := New(&o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestServe(t *testing.T) {
	o := option.Transport{Path: "/", Paths: option.Listable[string]{"/a", "/b"}}
	for _, tt := range []struct {
		name, raw string
		status    int
	}{
		{"plain", head + "\r\n", 200},
		{"clash", head + "Content-Length: 5\r\n\r\n", 200},
		{"any method", strings.Replace(head, "GET", "PURGE", 1) + "\r\n", 200},
		{"other path", strings.Replace(head, "/b", "/", 1) + "\r\n", 404},
		{"longer path", strings.Replace(head, "/b", "/bb", 1) + "\r\n", 404},
		{"garbage", "\x16\x03\x01", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := transporttest.Echo(t, newServer(t, o))
			_, _ = io.WriteString(run.Client, tt.raw+"first bytes")
			r := bufio.NewReader(run.Client)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != tt.status {
				t.Fatalf("%v, %v, want %d", resp, err, tt.status)
			}
			if tt.status != 200 {
				_ = run.Client.Close()
				if err := <-run.Result; !errors.Is(err, http1.ErrRefused) {
					t.Errorf("err = %v", err)
				}
				return
			}
			got := make([]byte, len("first bytes"))
			if _, err := io.ReadFull(r, got); string(got) != "first bytes" || resp.Header.Get("Pragma") != "no-cache" {
				t.Errorf("%q, %v, %v", got, err, resp.Header)
			}
			_ = run.Client.Close()
			if err := <-run.Result; err != nil {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestDial(t *testing.T) {
	for _, size := range []int{0, 1, 1 << 20} {
		o := option.Transport{Path: "/x", Paths: option.Listable[string]{"/y"}, Host: option.Listable[string]{"a", "b"}, Method: "POST"}
		run := transporttest.Echo(t, newServer(t, o))
		d, err := NewDialer(&o, "c")
		if err != nil {
			t.Fatal(err)
		}
		c, err := d.Dial(t.Context(), run.Client)
		if err != nil {
			t.Fatal(err)
		}
		transporttest.Echoes(t, c, size)
		_ = c.Close()
		if err := <-run.Result; err != nil {
			t.Errorf("err = %v", err)
		}
	}
}

func TestDialRefused(t *testing.T) {
	run := transporttest.Echo(t, newServer(t, option.Transport{Path: "/x"}))
	d, err := NewDialer(&option.Transport{Path: "/y"}, "c")
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial(t.Context(), run.Client)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "hello")
	if _, err := c.Read(make([]byte, 10)); !errors.Is(err, http1.ErrBadResponse) {
		t.Errorf("err = %v", err)
	}
	_ = c.Close()
	<-run.Result
}

func TestGarbage(t *testing.T) {
	transporttest.Garbage(t, newServer(t, option.Transport{Path: "/b"}), []byte(head+"\r\npayload"), transporttest.IsHTTP1)
}
