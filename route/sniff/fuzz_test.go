package sniff

import (
	"bytes"
	"crypto/tls"
	"errors"
	"testing"
)

// FuzzStream: every answer is stable. A prefix of what has an answer asks for more or has the same
// one, ErrUnknown stays, and the domain is a domain.
func FuzzStream(f *testing.F) {
	hello := clientHello(f, &tls.Config{ServerName: "www.example.org"})
	f.Add(hello)
	f.Add(fragment(hello, 100))
	f.Add([]byte("GET /a HTTP/1.1\r\nAccept: x\r\nHost: a.example:80\r\n\r\n"))
	f.Add([]byte("GET /announce?info_hash=1 HTTP/1.1\r\n"))
	f.Add([]byte("\x13BitTorrent protocol"))
	f.Fuzz(func(t *testing.T, in []byte) {
		keep := bytes.Clone(in)
		r, err := Stream(in)
		if !bytes.Equal(in, keep) {
			t.Fatal("the input changed")
		}
		if (err == nil) != (r.Protocol != "") && !errors.Is(err, ErrMore) {
			t.Fatalf("%+v, %v", r, err)
		}
		if r.Domain != "" && hostname(r.Domain) != r.Domain {
			t.Fatalf("domain %q", r.Domain)
		}
		step := 1 + len(in)/64
		for i := 0; i < len(in); i += step {
			before, errBefore := Stream(in[:i])
			switch {
			case errors.Is(errBefore, ErrMore):
				if before.Protocol != "" && r.Protocol != before.Protocol && r.Protocol != "bittorrent" && err == nil {
					t.Fatalf("prefix of %d bytes promised %+v, all of it is %+v", i, before, r)
				}
			case errBefore != nil && err == nil, errBefore == nil && len(in) < MaxStream && before != r:
				t.Fatalf("prefix of %d bytes: %+v, %v; all of it: %+v, %v", i, before, errBefore, r, err)
			}
		}
	})
}

// FuzzPackets: no datagrams make it panic, grow, change its input or ask for more than the bound.
func FuzzPackets(f *testing.F) {
	dcid := []byte("12345678")
	f.Add(seal(1, dcid, 0, make([]byte, 40)), []byte{1})
	f.Add([]byte("d1:ad2:id20:"), []byte{})
	f.Fuzz(func(t *testing.T, first, frames []byte) {
		for _, version := range []uint32{1, 0x6b3343cf} {
			sealed := seal(version, dcid, 7, append(bytes.Clone(frames[:min(len(frames), 1<<13)]), 0, 0, 0, 0))
			for _, list := range [][][]byte{{first, sealed}, {sealed, first, sealed, sealed, sealed}} {
				var p Packets
				for i, b := range list {
					keep := bytes.Clone(b)
					r, err := p.Feed(b)
					if !bytes.Equal(b, keep) {
						t.Fatal("the input changed")
					}
					if errors.Is(err, ErrMore) && i >= MaxDatagrams-1 {
						t.Fatal("asks for more than it may")
					}
					if r.Domain != "" && hostname(r.Domain) != r.Domain {
						t.Fatalf("domain %q", r.Domain)
					}
					if q := p.quic; q != nil && (len(q.hello.buf) > maxHello+4 || len(q.hello.have) > maxFragments+1) {
						t.Fatalf("grew to %d bytes, %d pieces", len(q.hello.buf), len(q.hello.have))
					}
					if err == nil {
						break
					}
				}
			}
		}
	})
}

func BenchmarkStreamTLS(b *testing.B) {
	hello := clientHello(b, &tls.Config{ServerName: "www.example.org"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Stream(hello); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStreamHTTP(b *testing.B) {
	in := []byte("GET /some/path HTTP/1.1\r\nHost: www.example.org\r\nAccept: */*\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Stream(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPacketsQUIC(b *testing.B) {
	hello := helloMessage(b)
	dcid := []byte("12345678")
	first := seal(1, dcid, 0, append(cryptoFrame(0, hello[:1000]), make([]byte, 100)...))
	second := seal(1, dcid, 1, append(cryptoFrame(1000, hello[1000:]), make([]byte, 100)...))
	b.ReportAllocs()
	for b.Loop() {
		var p Packets
		_, _ = p.Feed(first)
		if r, err := p.Feed(second); err != nil || r.Domain == "" {
			b.Fatal(r, err)
		}
	}
}
