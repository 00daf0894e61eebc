package rule

import (
	"errors"
	"strings"
	"testing"

	"heki/option"
)

func TestHosts(t *testing.T) {
	h, err := CompileHosts([]string{"# comment", "netflix", "domain:example.org", "full:www.example.com", `regexp:^ads[0-9]+\.`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"netflix.com": true, "a.netflix.net": true, "example.org": true, "a.b.example.org": true, "www.example.com": true, "ads1.example": true,
		"example.com": false, "badexample.org": false, "ads.example": false, "port": false,
	} {
		if h.MatchHost(host) != want {
			t.Errorf("%s: %v, want %v", host, !want, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { h.MatchHost("www.example.com") }); n != 0 {
		t.Errorf("a match allocates %v times", n)
	}
	if every, err := CompileHosts([]string{"*"}, nil); err != nil || !every.MatchHost("a") {
		t.Errorf("*: %v", err)
	}
}

func TestHostsRefuseOtherLines(t *testing.T) {
	lines := []string{"domain:a.example", "port:80", "domain:b c", "user:7", "ip:1.2.3.4", "port"}
	h, err := CompileHosts(lines, nil)
	var bad Errors
	if !errors.As(err, &bad) || len(bad) != 4 || bad[0].Index != 1 || bad[1].Index != 2 || bad[2].Index != 3 || !errors.Is(bad[0], errNotHost) {
		t.Fatalf("err = %v", err)
	}
	if !h.MatchHost("x.a.example") || !h.MatchHost("a-port.example") || h.MatchHost("c.example") {
		t.Error("the good lines are not in force")
	}
	_, err = HostsAt(option.Path("dns").Key("rules").Index(0).Key("match"), lines, nil)
	for _, want := range []string{
		`dns.rules[0].match[1]: "port:80" looks at more than a host's name; here keywords, domain:`,
		`dns.rules[0].match[4]: "ip:1.2.3.4" looks`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if _, err := HostsAt("x", []string{"# nothing"}, nil); err == nil || !strings.Contains(err.Error(), "matches nothing") {
		t.Errorf("comments alone: %v", err)
	}
}
