package upstream

import (
	"testing"

	"github.com/miekg/dns"
)

func FuzzParseReply(f *testing.F) {
	q := newQuery("a.example", false, true)
	q.Id = 4711
	m := new(dns.Msg)
	m.SetReply(q)
	m.Answer = []dns.RR{record(f, "a.example. 60 IN CNAME b.example."), record(f, "b.example. 60 IN A 192.0.2.1")}
	b, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		reply, err := parseReply(in, q)
		if err != nil {
			return
		}
		a, err := answerOf(q, reply)
		if err == nil && (a.TTL < 0 || len(a.Addrs) > maxAddrs || len(a.Addrs) > 0 && a.NotFound) {
			t.Errorf("answer %+v", a)
		}
		for _, addr := range a.Addrs {
			if !addr.Is4() || addr.IsUnspecified() {
				t.Errorf("address %s for a question about IPv4", addr)
			}
		}
	})
}
