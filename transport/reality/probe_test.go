package reality

import (
	stdtls "crypto/tls"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestProbe(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*httptest.Server)
		names  string
		want   []string
	}{
		{"good", nil, "example.com", nil},
		{"more names", nil, "example.com www.example.com", nil},
		{"other name", nil, "example.com other.example", []string{"certificate for another name"}},
		{"HTTP/1.1", func(s *httptest.Server) { s.EnableHTTP2 = false }, "example.com", []string{"HTTP/2"}},
		{"TLS 1.2", func(s *httptest.Server) { s.TLS = &stdtls.Config{MaxVersion: stdtls.VersionTLS12} }, "example.com", []string{"TLS 1.3"}},
		{
			"P-256", func(s *httptest.Server) { s.TLS = &stdtls.Config{CurvePreferences: []stdtls.CurveID{stdtls.CurveP256}} },
			"example.com",
			[]string{"HelloRetryRequest"},
		},
		{"everything", func(s *httptest.Server) {
			s.EnableHTTP2, s.TLS = false, &stdtls.Config{MaxVersion: stdtls.VersionTLS12}
		}, "other.example", []string{"TLS 1.3", "HTTP/2", "another name"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOptions(t, newTarget(t, tt.change).Listener.Addr().String())
			o.Reality.ServerNames = strings.Fields(tt.names)
			got := Probe(t.Context(), o)
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %q", got, tt.want)
			}
			for i, err := range got {
				if !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), tt.want[i]) {
					t.Errorf("got %v, want %q", err, tt.want[i])
				}
			}
		})
	}
	t.Run("down", func(t *testing.T) {
		o := newOptions(t, "127.0.0.1:1")
		if got := Probe(t.Context(), o); len(got) != 1 || !strings.Contains(got[0].Error(), "refused") {
			t.Errorf("got %v", got)
		}
	})
}
