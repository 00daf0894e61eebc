package route

import (
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"heki/option"
	"heki/route/geo"
)

// TestGeo routes by files: names, sniffed names and resolved addresses, rules of the configuration and of a
// panel, and files that change.
func TestGeo(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"geosite.dat", "geoip.dat"} {
		data, err := os.ReadFile(filepath.Join("geo", "testdata", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	files := geo.New(geo.Places{Dir: dir}, slog.New(slog.DiscardHandler))
	outs := set{"direct": newPipeOutbound("direct"), "hk": newPipeOutbound("hk")}
	resolver := names{"in.test": netip.MustParseAddr("1.0.1.9"), "out.test": netip.MustParseAddr("192.0.2.1"), "www.netflix.com": netip.MustParseAddr("192.0.2.2"), "ads.doubleclick.net": netip.MustParseAddr("192.0.2.3")}
	r, err := New(option.Route{
		Audit: []string{"geosite:google@ads"},
		Rules: []option.RouteTo{{Match: []string{"geosite:netflix", "geoip:cn"}, Outbound: "hk"}},
		Final: "direct",
	}, outs, resolver, files, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	other := map[string]string{"hk": "direct", "direct": "hk"}
	goes := func(dst, first, want string) {
		t.Helper()
		c := start(t, r, dst)
		if first != "" {
			go io.WriteString(c.client, "GET / HTTP/1.1\r\nHost: "+first+"\r\n\r\n")
		}
		if want == "" {
			if err := c.end(t); !errors.Is(err, ErrDenied) {
				t.Errorf("%s %s: err = %v, want ErrDenied", dst, first, err)
			}
			return
		}
		if first == "" {
			c.client.Close() // nothing to sniff
		}
		select {
		case remote := <-outs[want].remotes:
			remote.Close()
			c.client.Close()
			c.end(t)
		case err := <-c.done:
			t.Errorf("%s %s: %v, want %s", dst, first, err, want)
		case remote := <-outs[other[want]].remotes:
			remote.Close()
			c.client.Close()
			t.Errorf("%s %s: not by %s; %v", dst, first, want, c.end(t))
		}
	}
	goes("www.netflix.com:80", "", "hk")
	goes("192.0.2.1:80", "www.netflix.com", "hk")
	goes("192.0.2.1:80", "www.example.org", "direct")
	goes("1.0.2.1:80", "www.example.org", "hk")
	goes("in.test:80", "", "hk")
	goes("out.test:80", "", "direct")
	goes("ads.doubleclick.net:80", "", "")
	goes("192.0.2.1:80", "ads.doubleclick.net", "")

	err = r.SetPanelRules("in", []PanelRule{{ID: 3, Lines: []string{"geosite:netflx", "geoip:telegram", "geosite:google@!cn", "geoip:private"}}}, nil)
	if err == nil || !strings.Contains(err.Error(), "geosite:netflx") || !strings.Contains(err.Error(), "did you mean geosite:netflix?") || strings.Contains(err.Error(), "telegram") {
		t.Errorf("err = %v", err)
	}
	goes("91.108.4.1:80", "x.test", "")
	goes("8.8.8.8:80", "steam.example", "")
	goes("10.0.0.1:80", "x.test", "")
	goes("1.0.2.1:80", "x.test", "hk")

	// NETFLIX with one domain, new.test
	if err := os.WriteFile(filepath.Join(dir, "geosite.dat"), []byte("\x0a\x17\x0a\x07NETFLIX\x12\x0c\x08\x02\x12\x08new.test"), 0o600); err != nil {
		t.Fatal(err)
	}
	files.Use(files.Places())
	goes("8.8.8.8:80", "a.new.test", "hk")
	goes("8.8.8.8:80", "www.netflix.com", "direct")
	goes("8.8.8.8:80", "ads.doubleclick.net", "") // its list is gone; the last good one holds

	// The list that the panel's rule lacked is there now.
	goes("8.8.8.8:80", "late.test", "direct")
	if err := os.WriteFile(filepath.Join(dir, "geosite.dat"), []byte("\x0a\x17\x0a\x06NETFLX\x12\x0d\x08\x02\x12\x09late.test"), 0o600); err != nil {
		t.Fatal(err)
	}
	files.Use(files.Places())
	if err := r.RetryPanelRules(); err != nil {
		t.Error(err)
	}
	goes("8.8.8.8:80", "late.test", "")
	goes("91.108.4.1:80", "x.test", "")
	if err := r.RetryPanelRules(); err != nil || len(r.partial) != 0 {
		t.Errorf("nothing is left to try again: %v, %v", err, r.partial)
	}
}
