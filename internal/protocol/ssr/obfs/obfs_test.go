package obfs

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"heki/internal/protocol/ssr/ssrtest"
)

// gate lets everybody in, and remembers.
type gate struct {
	host  string
	now   time.Time
	err   error
	stale bool
}

func (g *gate) Host(host string) error { g.host = host; return g.err }

func (g *gate) Fresh([22]byte) bool { return !g.stale }

func (g *gate) Now() time.Time { return g.now }

func specOf(t testing.TB, name string) Spec {
	t.Helper()
	s, ok := ByName(name)
	if !ok {
		t.Fatalf("no obfs %q", name)
	}
	return s
}

// drain decodes all of b in steps of n bytes, keeping what is not used for the next.
func drain(c Codec, pending *[]byte, b []byte, n int) (out []byte, err error) {
	for len(b) > 0 {
		k := min(n, len(b))
		*pending, b = append(*pending, b[:k]...), b[k:]
		dst := make([]byte, len(*pending))
		m, used, err := c.Decode(dst, *pending)
		out = append(out, dst[:m]...)
		if err != nil {
			return out, err
		}
		*pending = (*pending)[used:]
	}
	return out, nil
}

// TestVectors decodes every vector as its receiver, whole and byte by byte.
func TestVectors(t *testing.T) {
	all := ssrtest.Load(t)
	for _, v := range append(all.Obfs, all.SimpleObfs...) {
		for _, step := range []int{1, 1 << 20} {
			t.Run(v.Obfs+" "+v.Case, func(t *testing.T) {
				g := &gate{now: time.Unix(1_700_000_000, 0)}
				server := NewServer(specOf(t, v.Obfs), v.Key, "").Accept(g, rand.Reader)
				client := (&Client{Spec: specOf(t, v.Obfs), Key: v.Key, Host: v.Host, Now: g.now, ClientID: [32]byte(append(v.ClientID, make([]byte, 32)...))}).Begin(rand.Reader)
				var up, down, wantUp, wantDown, upLeft, downLeft []byte
				for i, s := range v.Steps {
					if s.Dir == "c2s" {
						out, err := drain(server, &upLeft, s.Wire, step)
						up, wantUp = append(up, out...), append(wantUp, s.Payload...)
						if err != nil {
							t.Fatalf("step %d: %v", i, err)
						}
						continue
					}
					out, err := drain(client, &downLeft, s.Wire, step)
					down, wantDown = append(down, out...), append(wantDown, s.Payload...)
					if err != nil {
						t.Fatalf("step %d: %v", i, err)
					}
				}
				if !bytes.Equal(up, wantUp) || !bytes.Equal(down, wantDown) {
					t.Errorf("up %d bytes of %d, down %d of %d", len(up), len(wantUp), len(down), len(wantDown))
				}
				if g.host != HostOf(v.Host) {
					t.Errorf("host %q, want %q", g.host, v.Host)
				}
			})
		}
	}
}

// TestAgain makes what the reference sent, with its randomness.
func TestAgain(t *testing.T) {
	all := ssrtest.Load(t)
	for _, v := range append(all.Obfs, all.SimpleObfs...) {
		t.Run(v.Obfs+" "+v.Case, func(t *testing.T) {
			switch v.Obfs {
			case "tls1.2_ticket_auth":
				againTicket(t, v)
			case "simple_obfs_tls":
				againSimpleTLS(t, v)
			case "simple_obfs_http":
				// Free text but for its form, which TestVectors reads.
			default:
				againHTTP(t, v)
			}
		})
	}
}

// cut removes a header line that holds the time of the recording.
func cut(b []byte, name string) []byte {
	head, rest, _ := bytes.Cut(b, []byte(name))
	_, rest, _ = bytes.Cut(rest, []byte("\r\n"))
	return append(bytes.Clone(head), rest...)
}

func againHTTP(t *testing.T, v ssrtest.Obfs) {
	g := &gate{now: time.Unix(v.Time, 0)}
	server := NewServer(specOf(t, v.Obfs), v.Key, "").Accept(g, rand.Reader)
	for _, s := range v.Steps {
		if s.Dir != "s2c" {
			continue
		}
		got := server.Close(append(server.Open(nil), s.Payload...), 0)
		if !bytes.Equal(cut(got, "Date:"), cut(s.Wire, "Date:")) {
			t.Errorf("answer %q, want %q", got, s.Wire)
		}
	}
}

func againTicket(t *testing.T, v ssrtest.Obfs) {
	g := &gate{now: time.Unix(v.Time, 0)}
	hello, answer := []byte(v.Steps[0].Wire), []byte(v.Steps[1].Wire)
	// The server's randomness: 18 bytes of its random, three dice, the ticket's, Finished's.
	random := bytes.NewBuffer(bytes.Clone(answer[15:33]))
	rest := answer[recordHead+0x51:]
	dice := []byte{1, 0, 0}
	var ticketBytes []byte
	if rest[0] == typeHandshake {
		n := int(binary.BigEndian.Uint16(rest[3:])) - 4
		dice[0], dice[1] = 0, byte((n-64)/2)
		ticketBytes = rest[9 : 9+n]
		rest = rest[9+n:]
	}
	finished := rest[len(change)+recordHead:]
	if len(finished) == 0x28 {
		dice[2] = 1
	}
	random.Write(dice)
	random.Write(ticketBytes)
	random.Write(finished[:len(finished)-ticketMAC])
	server := NewServer(specOf(t, v.Obfs), v.Key, "").Accept(g, random)
	if _, _, err := server.Decode(make([]byte, len(hello)), hello); err != nil {
		t.Fatal(err)
	}
	if got := server.Greeting(); !bytes.Equal(got, answer) {
		t.Errorf("answer %x, want %x", got, answer)
	}
	if server.Greeting() != nil {
		t.Error("a second greeting")
	}
	if v.Steps[2:] == nil || len(v.Steps) < 3 {
		return
	}
	// The client's Finished and its first record.
	c := &ticketDial{client: &Client{Key: v.Key, ClientID: [32]byte(v.ClientID)}, random: bytes.NewReader(v.Steps[2].Wire[len(change)+recordHead:])}
	want := v.Steps[2].Wire
	n := int(binary.BigEndian.Uint16(want[ticketFinished+3:]))
	want = want[:ticketFinished+recordHead+n]
	if got := c.Close(append(c.Open(nil), want[ticketFinished+recordHead:]...), 0); !bytes.Equal(got, want) {
		t.Errorf("Finished %x, want %x", got, want)
	}
}

func againSimpleTLS(t *testing.T, v ssrtest.Obfs) {
	hello := v.Steps[0].Wire
	now := time.Unix(int64(binary.BigEndian.Uint32(hello[11:])), 0)
	client := (&Client{Spec: specOf(t, v.Obfs), Host: v.Host, ClientID: [32]byte(hello[44:]), Now: now}).Begin(bytes.NewReader(hello[15:]))
	g := &gate{now: now}
	var server Codec
	for i, s := range v.Steps {
		c := client
		if s.Dir == "s2c" {
			if server == nil {
				g.now = time.Unix(int64(binary.BigEndian.Uint32(s.Wire[11:])), 0)
				server = NewServer(specOf(t, v.Obfs), nil, "").Accept(g, bytes.NewReader(s.Wire[15:]))
				if _, _, err := server.Decode(make([]byte, len(hello)), hello); err != nil {
					t.Fatal(err)
				}
			}
			c = server
		}
		before := c.Front()
		got := c.Close(append(c.Open(nil), s.Payload...), 0)
		if !bytes.Equal(got, s.Wire) {
			t.Errorf("step %d: %x, want %x", i, got, s.Wire)
		}
		if len(got) > before+len(s.Payload) {
			t.Errorf("step %d adds %d bytes, bound %d", i, len(got)-len(s.Payload), before)
		}
	}
}

// pair is both ends of one obfs; its first payload has gone up.
func newPair(t testing.TB, name string, first []byte) (client, server Codec, g *gate) {
	t.Helper()
	g = &gate{now: time.Unix(1_700_000_000, 0)}
	key := bytes.Repeat([]byte{1}, 32)
	client = (&Client{Spec: specOf(t, name), Key: key, Host: "Www.Example.com", Port: 8388, Now: g.now}).Begin(rand.Reader)
	server = NewServer(specOf(t, name), key, "").Accept(g, rand.Reader)
	if hello := client.Greeting(); hello != nil {
		if _, used, err := server.Decode(make([]byte, len(hello)), hello); err != nil || used != len(hello) {
			t.Fatalf("hello: %d of %d bytes, %v", used, len(hello), err)
		}
		answer := server.Greeting()
		if _, used, err := client.Decode(make([]byte, len(answer)), answer); err != nil || used != len(answer) {
			t.Fatalf("answer: %d of %d bytes, %v", used, len(answer), err)
		}
	}
	if !client.Ready() {
		t.Fatal("the client is not ready")
	}
	pass(t, client, server, first)
	if !server.Ready() {
		t.Fatal("the server is not ready")
	}
	return client, server, g
}

func pass(t testing.TB, from, to Codec, payload []byte) {
	t.Helper()
	front := from.Front()
	b := from.Close(append(from.Open(nil), payload...), 0)
	if len(b) > front+len(payload) {
		t.Errorf("%T adds %d bytes, bound %d", from, len(b)-len(payload), front)
	}
	out := make([]byte, len(b))
	n, used, err := to.Decode(out, b)
	if err != nil || used != len(b) || !bytes.Equal(out[:n], payload) {
		t.Fatalf("%T to %T: %d bytes of %d, %d of %d used, %v", from, to, n, len(payload), used, len(b), err)
	}
}

func TestBothEnds(t *testing.T) {
	for _, name := range Names() {
		for _, first := range []int{1, 8, 12, 16, 100, 1500, 12000} {
			client, server, g := newPair(t, name, make([]byte, first))
			for n := 1; n < 16000; n *= 3 {
				pass(t, server, client, make([]byte, n))
				pass(t, client, server, make([]byte, n))
			}
			if name != "plain" && g.host != "www.example.com" {
				t.Errorf("%s: host %q", name, g.host)
			}
		}
	}
}

// firstFlight is what a client sends at first.
func firstFlight(t testing.TB, name string) []byte {
	client := (&Client{Spec: specOf(t, name), Key: bytes.Repeat([]byte{1}, 32), Host: "a.example", Port: 80, Now: time.Unix(1_700_000_000, 0)}).Begin(rand.Reader)
	if hello := client.Greeting(); hello != nil {
		return hello
	}
	return client.Close(append(client.Open(nil), "payload of the first write, which is longer than a URL has room for it"...), 0)
}

func TestRefused(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	refused := errors.New("refused")
	for _, tt := range []struct {
		name, obfs, param string
		gate              gate
		err               error
	}{
		{"in time", "tls1.2_ticket_auth", "", gate{now: now.Add(DefaultSkew)}, nil},
		{"late", "tls1.2_ticket_auth", "", gate{now: now.Add(DefaultSkew + time.Second)}, ErrReplay},
		{"early", "tls1.2_ticket_auth", "", gate{now: now.Add(-DefaultSkew - time.Second)}, ErrReplay},
		{"late by the param", "tls1.2_ticket_auth", "60", gate{now: now.Add(61 * time.Second)}, ErrReplay},
		{"any time", "tls1.2_ticket_auth", "0", gate{now: now.Add(1000 * time.Hour)}, nil},
		{"below 0", "tls1.2_ticket_auth", "-1", gate{now: now.Add(1000 * time.Hour)}, nil},
		{"a host as param", "tls1.2_ticket_auth", "b.example", gate{now: now}, nil},
		{"seen", "tls1.2_ticket_auth", "", gate{now: now, stale: true}, ErrReplay},
		{"host", "tls1.2_ticket_auth", "", gate{now: now, err: refused}, refused},
		{"late", "simple_obfs_tls", "", gate{now: now.Add(DefaultSkew + time.Second)}, ErrReplay},
		{"seen, of which nothing follows", "simple_obfs_tls", "", gate{now: now, stale: true}, nil},
		{"host", "simple_obfs_tls", "", gate{now: now, err: refused}, refused},
		{"host", "http_simple", "", gate{now: now, err: refused}, refused},
		{"other hosts", "http_simple", "b.example, c.example", gate{now: now}, ErrHost},
		{"one of the hosts", "http_post", "b.example,A.example:80", gate{now: now}, nil},
		{"with a client's headers", "http_simple", "b.example,a.example#User-Agent: x, y", gate{now: now}, nil},
		{"only a client's headers", "http_simple", "#User-Agent: x, y", gate{now: now}, nil},
		{"host", "simple_obfs_http", "", gate{now: now, err: refused}, refused},
	} {
		t.Run(tt.obfs+" "+tt.name, func(t *testing.T) {
			s := NewServer(specOf(t, tt.obfs), bytes.Repeat([]byte{1}, 32), tt.param)
			first := firstFlight(t, tt.obfs)
			if _, used, err := s.Accept(&tt.gate, rand.Reader).Decode(make([]byte, len(first)), first); !errors.Is(err, tt.err) || used != 0 && err != nil {
				t.Errorf("%d used, err = %v, want %v", used, err, tt.err)
			}
		})
	}
}

// TestPrefixes: the server waits for the whole beginning and takes nothing of it before.
func TestPrefixes(t *testing.T) {
	for _, name := range Names()[1:] {
		first := firstFlight(t, name)
		end := len(first)
		if i := bytes.Index(first, blank); i >= 0 {
			end = i + len(blank)
		}
		for i := range end {
			s := NewServer(specOf(t, name), bytes.Repeat([]byte{1}, 32), "").Accept(&gate{now: time.Unix(1_700_000_000, 0)}, rand.Reader)
			if n, used, err := s.Decode(make([]byte, len(first)), first[:i]); n != 0 || used != 0 || err != nil {
				t.Fatalf("%s, %d bytes: %d, %d used, %v", name, i, n, used, err)
			}
		}
		for _, bad := range []string{"\x00", "GEX", "SSH-2.0-x", "\x16\x03\x03", "\x17"} {
			s := NewServer(specOf(t, name), nil, "").Accept(&gate{}, rand.Reader)
			if _, _, err := s.Decode(make([]byte, 99), []byte(bad)); !errors.Is(err, ErrHello) {
				t.Errorf("%s, %q: %v", name, bad, err)
			}
		}
		s := NewServer(specOf(t, name), nil, "").Accept(&gate{}, rand.Reader)
		endless := append([]byte("GET /"), bytes.Repeat([]byte{'a'}, MaxHello)...)
		if name[:3] == "tls" || name == "simple_obfs_tls" {
			endless = append([]byte{typeHandshake, 3, 1, 0xff, 0xff}, endless...)
		}
		if _, _, err := s.Decode(make([]byte, len(endless)), endless); !errors.Is(err, ErrHello) {
			t.Errorf("%s, without end: %v", name, err)
		}
	}
}

// TestDecoys reads the URLs of other clients: only the data in %xx counts.
func TestDecoys(t *testing.T) {
	for in, want := range map[string]string{
		"GET /%61%62 HTTP/1.1":                      "ab",
		"GET /login.php?redir=%61%62 HTTP/1.1":      "ab",
		"GET /s?ie=utf-8&wd=%61%62&rn=%6a HTTP/1.1": "ab",
		"POST /post.php?id=%61&goto=view.php HTTP":  "a",
		"GET / HTTP/1.1":                            "",
		"GET /% HTTP/1.1":                           "",
		"GET /%6":                                   "",
		"GET /%61%":                                 "a",
		"GET /%61%zz%62 HTTP/1.1":                   "a",
	} {
		out := make([]byte, len(in))
		if got := string(out[:unescape(out, []byte(in))]); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestRecordsEnd(t *testing.T) {
	for _, bad := range []string{"\x16\x03\x03\x00\x01a", "\x17\x03\x01\x00\x01a", "\x17\x03\x03\xff\xffa", "\x15"} {
		r := new(records)
		if _, _, err := r.decode(make([]byte, 99), []byte(bad)); !errors.Is(err, ErrRecord) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	for _, name := range Names() {
		client, server, _ := newPair(t, name, make([]byte, 100))
		pass(t, server, client, make([]byte, 100))
		payload, out, back := make([]byte, 1000), make([]byte, 0, 2000), make([]byte, 2000)
		if n := testing.AllocsPerRun(100, func() {
			b := server.Close(append(server.Open(out), payload...), 0)
			if _, _, err := client.Decode(back, b); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for a record", name, n)
		}
	}
}

func TestHostOf(t *testing.T) {
	for in, want := range map[string]string{"A.b:80": "a.b", "a": "a", "": "", "[::1]:80": "[::1]", "[::1]": "[::1]"} {
		if got := HostOf(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
