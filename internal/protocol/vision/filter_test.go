package vision

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// flight is what one side sends before the other one speaks.
type flight struct {
	up bool
	b  []byte
}

// tape is what both sides have sent.
type tape struct {
	mu      sync.Mutex
	flights []flight
}

// tap notes what is written to a connection.
type tap struct {
	net.Conn
	up   bool
	tape *tape
}

func (t tap) Write(p []byte) (int, error) {
	t.tape.add(t.up, p)
	return t.Conn.Write(p)
}

func (t *tape) add(up bool, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.flights); n == 0 || t.flights[n-1].up != up {
		t.flights = append(t.flights, flight{up: up})
	}
	last := &t.flights[len(t.flights)-1]
	last.b = append(last.b, p...)
}

// tcpPair returns the two ends of a loopback connection.
func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

// record runs a TLS session in which the client asks and the server answers, and returns what went
// over the wire.
func record(t testing.TB, client, server *tls.Config) []flight {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	client, server = client.Clone(), server.Clone()
	server.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	client.InsecureSkipVerify = true
	server.DynamicRecordSizingDisabled = true
	a, b := tcpPair(t)
	var tape tape
	done := make(chan error, 1)
	go func() {
		s := tls.Server(tap{b, false, &tape}, server)
		_, err := io.ReadFull(s, make([]byte, 8))
		if err == nil {
			_, err = s.Write(make([]byte, 40000))
		}
		done <- err
	}()
	c := tls.Client(tap{a, true, &tape}, client)
	if _, err := c.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 40000)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return tape.flights
}

// session is a kind of TLS and what has to become of it.
type session struct {
	name           string
	client, server *tls.Config
	want           Command
}

func sessions() []session {
	usual := new(tls.Config)
	return []session{
		{"1.3", usual, usual, CommandDirect},
		{"1.3 without tickets", usual, &tls.Config{SessionTicketsDisabled: true}, CommandDirect},
		{
			"1.3, second hello",
			&tls.Config{CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384}},
			&tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP384}},
			CommandDirect,
		},
		{"1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, usual, CommandEnd},
	}
}

// outcome is what a filter said of a stream.
type outcome struct {
	command Command
	at      int // bytes towards the client that went in blocks
	ready   int // bytes towards the client when the client had finished
}

// play feeds flights, cut into chunks, until the filter has decided.
func play(flights []flight, chunks func(flight int, b []byte) [][]byte) outcome {
	f := NewFilter()
	var o outcome
	for i, fl := range flights {
		for _, c := range chunks(i, fl.b) {
			if fl.up {
				f.Up(c)
				continue
			}
			if !f.ready {
				o.ready = o.at
			}
			command, n := f.Down(c)
			o.at += n
			if command != CommandContinue {
				o.command = command
				return o
			}
		}
	}
	return o
}

// boundaries are the ends of records of application data towards the client.
func boundaries(flights []flight) map[int]bool {
	var down []byte
	for _, f := range flights {
		if !f.up {
			down = append(down, f.b...)
		}
	}
	ends := make(map[int]bool)
	for at := 0; at < len(down); {
		n := recordHeader + int(binary.BigEndian.Uint16(down[at+3:]))
		if down[at] == kindAppData {
			ends[at+n] = true
		}
		at += n
	}
	return ends
}

func whole(_ int, b []byte) [][]byte { return [][]byte{b} }

// Wherever the stream is cut, the outer TLS is left at the end of a record, after the handshake.
func TestFilterEverySplit(t *testing.T) {
	for _, s := range sessions() {
		t.Run(s.name, func(t *testing.T) {
			flights := record(t, s.client, s.server)
			ends := boundaries(flights)
			check := func(i, at int, o outcome) {
				t.Helper()
				if o.command != s.want {
					t.Fatalf("flight %d cut at %d: %+v, want command %d", i, at, o, s.want)
				}
				if o.command == CommandDirect && (!ends[o.at] || o.at <= o.ready) {
					t.Fatalf("flight %d cut at %d: %+v, no end of a record after the handshake", i, at, o)
				}
			}
			check(0, 0, play(flights, whole))
			for i, f := range flights {
				for at := 1; at < len(f.b); at += step(at) {
					o := play(flights, func(j int, b []byte) [][]byte {
						if i != j {
							return whole(j, b)
						}
						return [][]byte{b[:at], b[at:]}
					})
					if i == len(flights)-1 && at > 100 && o.command == CommandContinue {
						t.Fatalf("cut at %d of the last flight: %+v", at, o)
					}
					check(i, at, o)
				}
			}
		})
	}
}

// step goes byte by byte where the structure is.
func step(at int) int {
	if at < 2000 || at%16<<10 < 100 {
		return 1
	}
	return 97
}

// Reads that never end where a record does still lead to the switch.
func TestFilterUnaligned(t *testing.T) {
	for _, s := range sessions() {
		flights := record(t, s.client, s.server)
		ends := boundaries(flights)
		for range 200 {
			o := play(flights, func(_ int, b []byte) (chunks [][]byte) {
				for len(b) > 0 {
					n := min(len(b), 600+mrand.IntN(3000))
					chunks = append(chunks, b[:n])
					b = b[n:]
				}
				return chunks
			})
			if o.command != s.want || o.command == CommandDirect && !ends[o.at] {
				t.Fatalf("%s: %+v", s.name, o)
			}
		}
	}
}

func TestFilterNoTLS(t *testing.T) {
	for name, chunk := range map[string]string{
		"http":          "HTTP/1.1 200 OK\r\n\r\n",
		"empty":         "",
		"client hello":  "\x16\x03\x01\x02\x00\x01",
		"alert":         "\x15\x03\x03\x00\x02\x01\x00",
		"app data":      "\x17\x03\x03\x00\x02\x01\x00",
		"length 0":      "\x16\x03\x03\x00\x00\x02",
		"old version":   "\x16\x03\x01\x00\x50\x02",
		"start of it":   "\x16\x03\x03",
		"start, broken": "\x16\x03\x04",
	} {
		f := NewFilter()
		for i := 1; ; i++ {
			command, n := f.Down([]byte(chunk))
			if n != len(chunk) {
				t.Fatalf("%s: %d bytes in blocks of %d", name, n, len(chunk))
			}
			if command == CommandEnd {
				if i != packets-1 {
					t.Errorf("%s: ended with chunk %d, want %d", name, i, packets-1)
				}
				break
			}
			if command != CommandContinue || i > packets {
				t.Fatalf("%s: command %d with chunk %d", name, command, i)
			}
		}
	}
}

func TestFilterTLS(t *testing.T) {
	f := NewFilter()
	f.Up([]byte("GET"))
	if f.TLS() {
		t.Error("HTTP is taken for TLS")
	}
	f = NewFilter()
	f.Up([]byte("\x16\x03\x01\x02\x00\x01..."))
	if !f.TLS() {
		t.Error("a ClientHello is not seen")
	}
}

// hello makes a ServerHello record with a cipher, and TLS 1.3 if so.
func hello(cipher uint16, is13 bool) []byte {
	b := append([]byte{2, 0, 0, 0, 3, 3}, make([]byte, 32)...)
	b = append(b, 32)
	b = append(b, make([]byte, 32)...)
	b = binary.BigEndian.AppendUint16(b, cipher)
	b = append(b, 0)
	if is13 {
		b = append(b, 0, 6, 0, 0x2b, 0, 2, 3, 4)
	} else {
		b = append(b, 0, 4, 0xff, 1, 0, 0)
	}
	b[3] = byte(len(b) - 4)
	return append([]byte{0x16, 3, 3, 0, byte(len(b))}, b...)
}

func TestFilterCiphers(t *testing.T) {
	data := []byte("\x17\x03\x03\x00\x03abc")
	for cipher, want := range map[uint16]Command{
		0x1301: CommandDirect, 0x1302: CommandDirect, 0x1303: CommandDirect, 0x1304: CommandDirect,
		0x1305: CommandEnd, 0x1300: CommandEnd, 0xc02b: CommandEnd,
	} {
		f := NewFilter()
		f.Up([]byte("\x16\x03\x01\x00\x04\x01\x00\x00\x00"))
		if c, _ := f.Down(hello(cipher, true)); c != CommandContinue {
			t.Errorf("%x: command %d with the hello", cipher, c)
		}
		if c, _ := f.Down(data); c != CommandContinue {
			t.Errorf("%x: command %d before the client has finished", cipher, c)
		}
		f.Up([]byte("\x14\x03\x03\x00\x01\x01"))
		if c, _ := f.Down(data); c != CommandContinue {
			t.Errorf("%x: command %d after the client's ChangeCipherSpec", cipher, c)
		}
		f.Up(data)
		if c, n := f.Down(append(data[:len(data):len(data)], data[:4]...)); c != want || c == CommandDirect && n != len(data) {
			t.Errorf("%x: command %d after %d bytes, want %d", cipher, c, n, want)
		}
	}
	f := NewFilter() // a cipher of 1.3 alone is nothing
	f.Down(hello(0x1301, false))
	f.Up(data)
	if c, _ := f.Down(data); c != CommandEnd {
		t.Errorf("TLS 1.2: command %d", c)
	}
}

func TestFilterLost(t *testing.T) {
	for name, rest := range map[string]string{
		"kind":    "\x18\x03\x03\x00\x02ab",
		"version": "\x17\x02\x03\x00\x02ab",
		"length":  "\x17\x03\x03\xff\xff",
	} {
		f := NewFilter()
		f.Down(hello(0x1301, true))
		if c, n := f.Down([]byte(rest)); c != CommandEnd || n != len(rest) {
			t.Errorf("%s: command %d", name, c)
		}
		f = NewFilter()
		f.Up([]byte("\x16\x03\x01\x00\x04\x01\x00\x00\x00" + rest))
		f.Down(hello(0x1301, true))
		f.Up([]byte("x"))
		if !f.ready {
			t.Errorf("%s: waits for a client whose records are lost", name)
		}
	}
	f := NewFilter()
	f.Down(hello(0x1301, true))
	f.UpEnded()
	if c, _ := f.Down([]byte("\x17\x03\x03\x00\x01a")); c != CommandDirect {
		t.Errorf("after UpEnded: command %d", c)
	}
}

// FuzzFilter checks that a filter leaves TLS only inside what it was given and behind a whole record.
func FuzzFilter(f *testing.F) {
	data := "\x17\x03\x03\x00\x03abc"
	f.Add([]byte("\x16\x03\x01\x00\x04\x01\x00\x00\x00"+data), hello(0x1301, true), []byte(data+data), uint8(3))
	f.Add([]byte("GET / HTTP/1.1"), []byte("HTTP/1.1 200"), []byte("..."), uint8(1))
	f.Add([]byte(data), hello(0x1301, false), []byte(data), uint8(200))
	for _, s := range sessions() {
		flights := record(f, s.client, s.server)
		if len(flights) >= 4 {
			f.Add(append(flights[0].b, flights[2].b...), flights[1].b, flights[3].b, uint8(255))
		}
	}
	f.Fuzz(func(t *testing.T, up, down1, down2 []byte, size uint8) {
		filter := NewFilter()
		down := append(bytes.Clone(down1), down2...)
		at, step := 0, int(size)*8+1
		for len(up) > 0 || at < len(down) {
			n := min(step, len(up))
			filter.Up(up[:n])
			up = up[n:]
			chunk := down[at:min(at+step, len(down))]
			command, n := filter.Down(chunk)
			if n < 0 || n > len(chunk) || command != CommandDirect && n != len(chunk) {
				t.Fatalf("command %d after %d of %d bytes", command, n, len(chunk))
			}
			at += n
			if command == CommandDirect && (n == 0 || !endsRecord(down[:at])) {
				t.Fatalf("left at %d", at)
			}
			if command != CommandContinue {
				return
			}
		}
	})
}

// endsRecord says whether some record of application data ends b.
func endsRecord(b []byte) bool {
	for i := len(b) - recordHeader; i >= 0; i-- {
		if b[i] == kindAppData && b[i+1] == 3 && i+recordHeader+int(binary.BigEndian.Uint16(b[i+3:])) == len(b) {
			return true
		}
	}
	return false
}
