package ssr

import (
	"testing"

	"heki/internal/protocol/ssr/ssrtest"
)

func TestHosts(t *testing.T) {
	for _, v := range ssrtest.Load(t).Hosts {
		got := UserHost(v.Regex, v.Suffix, HostOwner{v.ID, v.Passwd, v.Method, v.Obfs, v.Protocol})
		if got != v.Host {
			t.Errorf("%+v: %q", v, got)
		}
	}
	u := HostOwner{ID: 12, Password: "xk2Lp9Qa", Method: "rc4-md5", Obfs: "plain", Protocol: "origin"}
	for pattern, want := range map[string]string{
		DefaultHostPattern: "8567512.microsoft.com",
		"%":                "%",
		"%m.%0m.%+3m":      "%m.%0m.%+3m",
		"%99m":             "8567529916793567c972e58748e8f00e",
		"%-99m%id":         "8567529916793567c972e58748e8f00e12",
		"A.%x%-2m":         "a.%x0e",
	} {
		if got := UserHost(pattern, DefaultHostSuffix, u); got != want {
			t.Errorf("%q: %q, want %q", pattern, got, want)
		}
	}
}

func TestParams(t *testing.T) {
	for in, want := range map[string][2]int{
		"": {64, 86400}, "3": {3, 86400}, "64#3600": {64, 3600}, "#60": {64, 60}, "7:password": {64, 86400},
		"0": {64, 86400}, "-1#-1": {64, 86400}, "99999": {1024, 86400},
	} {
		if clients, interval := ParseServerParam(in); clients != want[0] || interval != want[1] {
			t.Errorf("%q: %d, %d, want %v", in, clients, interval, want)
		}
	}
}

func TestUnknownNames(t *testing.T) {
	for _, c := range []Config{
		{Method: "x", Protocol: "origin", Obfs: "plain"}, {Method: "none", Protocol: "x", Obfs: "plain"}, {Method: "none", Protocol: "origin", Obfs: "x"},
	} {
		if _, err := NewPort(c); err == nil {
			t.Errorf("%v was accepted", c)
		}
	}
}
