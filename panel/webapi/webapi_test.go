package webapi

import (
	"bytes"
	"compress/gzip"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/goleak"

	"heki/constant"
	"heki/panel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNew(t *testing.T) {
	for _, tt := range []struct{ in, base, err string }{
		{"https://panel.example.org/", "https://panel.example.org", ""},
		{"http://panel.example.org:8080/sub/path//", "http://panel.example.org:8080/sub/path", ""},
		{"panel.example.org", "", "must start with http"},
		{"ftp://x", "", "must start with http"},
		{"https://", "", "must start with http"},
		{"https://x/?a=b", "", "query"},
		{"https://x\x00", "", "url"},
	} {
		c, err := New(panel.Env{}, tt.in, "")
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: err = %v, want %q", tt.in, err, tt.err)
			}
		} else if err != nil || c.base != tt.base {
			t.Errorf("%q: %v", tt.in, err)
		}
	}
}

// A packed answer that unpacks beyond the bound is refused without keeping it.
func TestBound(t *testing.T) {
	var mib bytes.Buffer // gzip members may follow each other
	z := gzip.NewWriter(&mib)
	z.Write(make([]byte, 1<<20))
	z.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		for range constant.MaxPanelAnswer>>20 + 1 {
			w.Write(mib.Bytes())
		}
	}))
	defer s.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	env := panel.Env{HTTP: &http.Client{Transport: transport}, Now: time.Now, Say: func(slog.Level, string, ...any) {}}
	c, err := New(env, s.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "get users", "/x", nil, new(Validator)); err == nil || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("err = %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-3": 0, "99999999": time.Hour, "soon": 0,
		"Sun, 22 Nov 2026 12:01:00 GMT": time.Minute, "Sun, 22 Nov 2026 11:00:00 GMT": 0,
	} {
		resp := &http.Response{Header: http.Header{"Retry-After": {in}}}
		if got := retryAfter(resp, now); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// An error text of the panel must not smuggle the token or line ends into the log.
func TestExplain(t *testing.T) {
	c := &Caller{secret: "sesame"}
	for _, tt := range []struct{ body, want string }{
		{`{"message":"Server does not exist"}`, "400 Bad Request: Server does not exist"},
		{`{"message":"","error":"Invalid online data"}`, "400 Bad Request: Invalid online data"},
		{`{"message":"bad token sesame"}`, "400 Bad Request"},
		{`{"message":"a\nb"}`, "400 Bad Request: a b"},
		{`{"message":["x"]}`, "400 Bad Request"},
		{`<html>`, "400 Bad Request"},
		{``, "400 Bad Request"},
	} {
		said, err := c.explain(&http.Response{StatusCode: 400}, []byte(tt.body))
		if err.Error() != tt.want || said != "" && !strings.HasSuffix(tt.want, ": "+said) || said == "" && tt.want != "400 Bad Request" {
			t.Errorf("%s: %q, %v, want %q", tt.body, said, err, tt.want)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"message":"x","errors":{"a":["b"]}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		text := Message(in)
		if len(text) > maxMessage+len("…") || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("message = %q", text)
		}
		if utf8.Valid(in) && !utf8.ValidString(text) {
			t.Errorf("message = %q is not UTF-8", text)
		}
	})
}
