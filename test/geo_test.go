package test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"heki/test/harness"
)

// geoHosts are asked for; which of them a rule meets is Xray's to say.
func geoHosts() []string {
	return []string{
		"google.com", "www.google.com", "xgoogle.com", "GOOGLE.com", "www.google.cn", "fonts.googleapis.com", "www.fonts.googleapis.com", "x.doubleclick.net",
		"admob-cn.com", "steam.example", "www.steam.example", "netflix.com", "a.b.nflxvideo.net", "netflix.com.edgesuite.net", "www.netflix.com.edgesuite.net",
		"apiproxy-12.example.net", "apiproxy-x.example.net", "mynetflixdnstest9.org", "example.org",
	}
}

// TestGeosite: heki and Xray read the same geosite.dat, which Xray's own code wrote, and refuse the same
// names; all lead to one address, so the name that is sniffed decides.
func TestGeosite(t *testing.T) {
	t.Parallel()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "reached") }))
	t.Cleanup(site.Close)
	for _, lines := range [][]string{
		{"geosite:google"}, {"geosite:Google@ads", "geosite:netflix"}, {"geosite:google@!cn", "geosite:google@cn@ads"},
	} {
		t.Run(strings.Join(lines, ","), func(t *testing.T) {
			harness.Twice(t, func(t testing.TB) {
				road := harness.Road{Protocol: "vless"}
				port := harness.FreePort(t)
				config := geoConfig(t, road.Inbound(port, nil, harness.Users()), harness.JSON{"audit": lines})
				p := harness.Run(t, harness.Heki, config)
				p.WaitPort(t, harness.Address(port))
				client := harness.StartClient(t, harness.SingBox, road, port, nil, harness.Lane{Name: "1", User: harness.Users()[0]})
				judge := startJudge(t, filepath.Dir(config), lines)
				refused := 0
				for _, host := range geoHosts() {
					got, want := reaches(t, client.Socks("1"), site.URL, host), reaches(t, judge, site.URL, host)
					if got != want {
						t.Errorf("%s: through heki %v, through Xray %v", host, got, want)
					}
					if !got {
						refused++
					}
				}
				if refused == 0 || refused == len(geoHosts()) {
					t.Errorf("%d of %d are refused", refused, len(geoHosts()))
				}
			})
		})
	}
}

// TestGeoReload replaces the file under a running heki: SIGHUP puts it in force, a damaged one changes
// nothing.
func TestGeoReload(t *testing.T) {
	t.Parallel()
	harness.Twice(t, func(t testing.TB) {
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "reached") }))
		t.Cleanup(site.Close)
		road := harness.Road{Protocol: "trojan", TLS: true}
		cert := harness.NewCertificate(t)
		port := harness.FreePort(t)
		config := geoConfig(t, road.Inbound(port, cert, harness.Users()), harness.JSON{"audit": []string{"geosite:netflix", "geoip:cn"}})
		p := harness.Run(t, harness.Heki, config)
		p.WaitPort(t, harness.Address(port))
		client := harness.StartClient(t, harness.Xray, road, port, cert, harness.Lane{Name: "1", User: harness.Users()[0]})
		check := func(what, host string, want bool) {
			t.Helper()
			if got := reaches(t, client.Socks("1"), site.URL, host); got != want {
				t.Errorf("%s: %s is reached: %v", what, host, got)
			}
		}
		check("at first", "www.netflix.com", false)
		check("at first", "new.test", true)

		file := filepath.Join(filepath.Dir(config), "geosite.dat")
		reload := func(content, log string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			p.Signal(syscall.SIGHUP)
			p.WaitLog(t, log)
		}
		reload("<html>404</html>", "geosite:netflix")
		p.WaitLog(t, "damaged file")
		check("after a damaged file", "www.netflix.com", false)
		check("after a damaged file", "new.test", true)
		reload("\x0a\x17\x0a\x07NETFLIX\x12\x0c\x08\x02\x12\x08new.test", "configuration reloaded")
		check("after a new file", "www.netflix.com", true)
		check("after a new file", "new.test", false)
	})
}

// geoConfig writes a configuration with the vectors of route/geo beside it.
func geoConfig(t testing.TB, inbound, route harness.JSON) string {
	t.Helper()
	config := harness.WriteConfig(t, harness.JSON{
		"log": harness.JSON{"level": "debug"}, "state_dir": t.TempDir(), "inbounds": []harness.JSON{inbound}, "route": route,
	})
	for _, name := range []string{"geosite.dat", "geoip.dat"} {
		data, err := os.ReadFile(filepath.Join("..", "route", "geo", "testdata", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(filepath.Dir(config), name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return config
}

// startJudge runs an Xray of its own that refuses what meets lines by the files in dir.
func startJudge(t testing.TB, dir string, lines []string) harness.Socks {
	t.Helper()
	path, err := harness.Binary(harness.Xray)
	if err != nil {
		t.Fatal(err)
	}
	port := harness.FreePort(t)
	config := harness.WriteConfig(t, harness.JSON{
		"inbounds": []harness.JSON{{
			"protocol": "socks", "listen": harness.Loopback, "port": port, "settings": harness.JSON{"auth": "noauth"},
			"sniffing": harness.JSON{"enabled": true, "destOverride": []string{"http"}, "routeOnly": true},
		}},
		"outbounds": []harness.JSON{
			{"protocol": "freedom", "tag": "direct"}, {"protocol": "blackhole", "tag": "block"},
		},
		"routing": harness.JSON{"rules": []harness.JSON{{"type": "field", "domain": lines, "outboundTag": "block"}}},
	})
	p := harness.Start(t, harness.Xray, "/usr/bin/env", "XRAY_LOCATION_ASSET="+dir, path, "run", "-c", config)
	p.Name += " (judge)"
	p.WaitPort(t, harness.Address(port))
	return harness.Socks(harness.Address(port))
}

// reaches asks the site at address for a page of host through a proxy.
func reaches(t testing.TB, proxy harness.Socks, address, host string) bool {
	t.Helper()
	transport := &http.Transport{
		Proxy:             http.ProxyURL(&url.URL{Scheme: "socks5", Host: string(proxy)}),
		DialContext:       (&net.Dialer{Timeout: time.Minute}).DialContext,
		DisableKeepAlives: true,
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
