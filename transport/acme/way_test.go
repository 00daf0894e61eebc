package acme

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-acme/lego/v4/acme"
	"github.com/go-acme/lego/v4/challenge"

	"heki/option"
)

func tcpAt(text string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)) }

func TestKinds(t *testing.T) {
	for _, tt := range []struct {
		name      string
		o         option.ACME
		listening string
		want      []challenge.Type
	}{
		{"no TLS port", option.ACME{}, "[::]:8443", []challenge.Type{challenge.HTTP01, challenge.TLSALPN01}},
		{"TLS port", option.ACME{}, "[::]:443", []challenge.Type{challenge.TLSALPN01, challenge.HTTP01}},
		{"forwarded", option.ACME{AlternativeTLSPort: 8443}, "[::]:8443", []challenge.Type{challenge.TLSALPN01, challenge.HTTP01}},
		{"not by HTTP", option.ACME{DisableHTTPChallenge: true}, "[::]:8443", []challenge.Type{challenge.TLSALPN01}},
		{"not by TLS", option.ACME{DisableTLSALPNChallenge: true}, "[::]:443", []challenge.Type{challenge.HTTP01}},
	} {
		if got := kindsOf(job{o: &tt.o, listening: []net.Addr{tcpAt(tt.listening)}}); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestPlaces(t *testing.T) {
	everywhere := []netip.AddrPort{netip.MustParseAddrPort("[::]:80")}
	for _, tt := range []struct {
		listening []net.Addr
		want      []netip.AddrPort
	}{
		{nil, everywhere},
		{[]net.Addr{tcpAt("192.0.2.1:443"), tcpAt("[::]:443")}, everywhere},
		{
			[]net.Addr{tcpAt("192.0.2.1:443"), tcpAt("192.0.2.1:8443"), &net.UDPAddr{IP: net.ParseIP("2001:db8::1"), Port: 443}},
			[]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1]:80")},
		},
	} {
		if got := placesOf(tt.listening, 80); !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.listening, got, tt.want)
		}
	}
}

// A port that another program has is not waited for, and the other way is taken.
func TestTakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(taken.Addr().String()).Port()
	other := netip.MustParseAddrPort(free.Addr().String()).Port()
	free.Close()
	a := newAuthority(Config{}, newAnswers())
	defer a.answers.close()
	j := job{o: &option.ACME{AlternativeHTTPPort: port, AlternativeTLSPort: other}, listening: []net.Addr{tcpAt("127.0.0.1:1")}}
	w, err := a.prepare(context.Background(), j)
	if err != nil || w.kind != challenge.TLSALPN01 || w.another {
		t.Fatalf("got %+v, %v", w, err)
	}
	w.done()
	j.o.DisableTLSALPNChallenge = true
	if _, err = a.prepare(context.Background(), j); err == nil {
		t.Fatal("a taken port is no mistake")
	}
	for _, part := range []string{"http-01 needs port", "which acme.test (pid ", "acme.alternative_http_port"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not hold %q", err, part)
		}
	}
}

// The page of http-01 is there as long as it is wanted, and nothing else is.
func TestPages(t *testing.T) {
	answers := newAnswers()
	place := netip.MustParseAddrPort("127.0.0.1:0")
	l, err := bind(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	place = netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	first, err := answers.listen(t.Context(), []netip.AddrPort{place}, false)
	if err != nil {
		t.Fatal(err)
	}
	second, err := answers.listen(t.Context(), []netip.AddrPort{place}, false)
	if err != nil {
		t.Fatal(err)
	}
	answers.addPage("token", "proof")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	get := func(path string) (int, string) {
		answer, err := client.Get("http://" + place.String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	first()
	if code, body := get(pagePath + "token"); code != 200 || body != "proof" {
		t.Errorf("got %d %q", code, body)
	}
	for _, path := range []string{"/", pagePath, pagePath + "other", "/token"} {
		if code, _ := get(path); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
	second()
	answers.close()
	if conn, err := net.Dial("tcp", place.String()); err == nil {
		conn.Close()
		t.Error("the port is open for nobody")
	}
}

func TestExplain(t *testing.T) {
	limited := explain(fmt.Errorf("order: %w", &acme.RateLimitedError{ProblemDetails: &acme.ProblemDetails{Detail: "slow down"}, RetryAfter: "120"}))
	var r *Refused
	if !errors.As(limited, &r) || !r.Limited || r.RetryAfter != 2*time.Minute || !strings.Contains(limited.Error(), "slow down") {
		t.Errorf("got %+v", limited)
	}
	refused := explain(&acme.ProblemDetails{Type: "t", Detail: "no", URL: "https://ca.example/secret", SubProblems: []acme.SubProblem{{Detail: "because", Identifier: acme.Identifier{Value: "a.example"}}}})
	if text := refused.Error(); text != "the authority refuses: no; a.example: because" {
		t.Errorf("got %q", text)
	}
	if err := explain(io.EOF); err != io.EOF {
		t.Errorf("got %v", err)
	}
}

func TestRedact(t *testing.T) {
	err := Redact(errors.New("key abcdefgh is wrong at port 80"), map[string]string{"A_KEY": "abcdefgh", "A_PORT": "80"})
	if err.Error() != "key *** is wrong at port 80" {
		t.Errorf("got %v", err)
	}
	if Redact(io.EOF, nil) != io.EOF || Redact(nil, nil) != nil {
		t.Error("an error without secrets is another one")
	}
}
