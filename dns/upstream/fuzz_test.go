package upstream

import (
	"bytes"
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

// FuzzReadPrefixed: what a stream says of lengths is never believed beyond what it carries.
func FuzzReadPrefixed(f *testing.F) {
	q := newQuery("a.example", true, true)
	out, err := packPrefixed(q)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(out)
	f.Add([]byte{0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := readPrefixed(bytes.NewReader(in))
		if whole := len(in) >= 2 && len(in)-2 >= int(in[0])<<8|int(in[1]); whole != (err == nil) {
			t.Errorf("err = %v for %d bytes", err, len(in))
		}
		if err == nil && !bytes.Equal(b, in[2:2+len(b)]) {
			t.Error("another message came out")
		}
	})
}
