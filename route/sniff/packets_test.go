package sniff

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// TestInitialKeys uses the vectors of RFC 9001 appendix A.1 and RFC 9369 appendix A.1.
func TestInitialKeys(t *testing.T) {
	dcid, _ := hex.DecodeString("8394c8f03e515708")
	for _, tt := range []struct {
		number      uint32
		key, iv, hp string
	}{
		{1, "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2"},
		{0x6b3343cf, "8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", "45b95e15235d6f45a6b19cbcb0294ba9"},
	} {
		v, _ := quicVersionOf(tt.number)
		key, iv, hp, err := clientKeys(v, dcid)
		if err != nil {
			t.Fatal(err)
		}
		for _, pair := range [][2]string{{hex.EncodeToString(key), tt.key}, {hex.EncodeToString(iv), tt.iv}, {hex.EncodeToString(hp), tt.hp}} {
			if pair[0] != pair[1] {
				t.Errorf("version %x: got %s, want %s", tt.number, pair[0], pair[1])
			}
		}
	}
}

// quicDatagrams returns the first n datagrams of a quic-go client.
func quicDatagrams(tb testing.TB, version quic.Version, n int) [][]byte {
	tb.Helper()
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conf := &tls.Config{ServerName: "quic.example.org", NextProtos: []string{"h3"}}
		_, err := quic.DialAddr(ctx, server.LocalAddr().String(), conf, &quic.Config{Versions: []quic.Version{version}})
		if err == nil {
			tb.Error("dialed a silent server")
		}
	}()
	var list [][]byte
	for range n {
		buf := make([]byte, 2048)
		_ = server.SetReadDeadline(time.Now().Add(time.Minute))
		size, err := server.Read(buf)
		if err != nil {
			tb.Error(err)
			break
		}
		list = append(list, buf[:size])
	}
	cancel()
	<-done
	return list
}

func TestPacketsQUICGo(t *testing.T) {
	for _, version := range []quic.Version{quic.Version1, quic.Version2} {
		t.Run(version.String(), func(t *testing.T) {
			var p Packets
			list := quicDatagrams(t, version, 2)
			r, err := Result{}, error(nil)
			used := 0
			for _, b := range list {
				used++
				if r, err = p.Feed(b); err == nil {
					break
				}
				if !errors.Is(err, ErrMore) || r.Protocol != "quic" {
					t.Fatalf("datagram %d: %+v, %v", used, r, err)
				}
			}
			if err != nil || r != (Result{"quic", "quic.example.org"}) {
				t.Fatalf("got %+v, %v", r, err)
			}
			t.Logf("%d datagrams", used)
		})
	}
}

// seal makes an Initial packet with the given frames.
func seal(number uint32, dcid []byte, packet uint32, frames []byte) []byte {
	v, _ := quicVersionOf(number)
	key, iv, hp, _ := clientKeys(v, dcid)
	b := []byte{0xc0 | v.initial<<4 | 3}
	b = binary.BigEndian.AppendUint32(b, number)
	b = append(append(b, byte(len(dcid))), dcid...)
	b = append(b, 2, 0xaa, 0xbb, 3, 't', 'o', 'k')
	size := 4 + len(frames) + 16
	b = append(b, 0x40|byte(size>>8), byte(size))
	offset := len(b)
	b = binary.BigEndian.AppendUint32(b, packet)
	block, _ := aes.NewCipher(key)
	aead, _ := cipher.NewGCM(block)
	nonce := append([]byte(nil), iv...)
	for i := range 4 {
		nonce[8+i] ^= b[offset+i]
	}
	b = aead.Seal(b, nonce, frames, b)
	protect, _ := aes.NewCipher(hp)
	var mask [16]byte
	protect.Encrypt(mask[:], b[offset+4:offset+20])
	b[0] ^= mask[0] & 0x0f
	for i := range 4 {
		b[offset+i] ^= mask[1+i]
	}
	return b
}

func cryptoFrame(offset int, data []byte) []byte {
	b := []byte{6, 0x80, 0, byte(offset >> 8), byte(offset), 0x40 | byte(len(data)>>8), byte(len(data))}
	return append(b, data...)
}

// helloMessage is a ClientHello without a record around it.
func helloMessage(tb testing.TB) []byte {
	return clientHello(tb, &tls.Config{ServerName: "shuffled.example"})[5:]
}

// TestPacketsShuffled cuts the hello as Chrome does: pieces out of order over several datagrams, with
// PING, PADDING and ACK between them, two packets in one datagram, other packets and noise behind.
func TestPacketsShuffled(t *testing.T) {
	hello := helloMessage(t)
	dcid := []byte("12345678")
	for _, number := range []uint32{1, 0xff00001d, 0x6b3343cf} {
		for seed := range uint64(50) {
			r := rand.New(rand.NewPCG(seed, 1))
			var pieces [][]byte
			for at := 0; at < len(hello); {
				n := min(1+r.IntN(300), len(hello)-at)
				from := max(0, at-r.IntN(5)) // pieces may overlap
				pieces = append(pieces, cryptoFrame(from, hello[from:at+n]))
				at += n
			}
			r.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
			datagrams := make([][]byte, 2+r.IntN(2))
			parts := make([][2][]byte, len(datagrams))
			for i, piece := range pieces {
				part := &parts[i%len(parts)][r.IntN(2)]
				*part = append(append(*part, piece...), 0, 1, 0, 2, 5, 0, 1, 0, 1, 2)
			}
			for i, part := range parts {
				for j, frames := range part {
					frames = append(frames, make([]byte, 8)...)
					datagrams[i] = append(datagrams[i], seal(number, dcid, uint32(i*2+j), frames)...)
				}
				datagrams[i] = append(datagrams[i], 0x40, 1, 2, 3)
			}
			var p Packets
			for i, b := range datagrams {
				got, err := p.Feed(b)
				if i < len(datagrams)-1 {
					if !errors.Is(err, ErrMore) || got.Protocol != "quic" {
						t.Fatalf("version %x seed %d datagram %d: %+v, %v", number, seed, i, got, err)
					}
				} else if err != nil || got != (Result{"quic", "shuffled.example"}) {
					t.Fatalf("version %x seed %d: %+v, %v", number, seed, got, err)
				}
			}
		}
	}
}

func TestPacketsQUICLimits(t *testing.T) {
	dcid := []byte("12345678")
	padding := make([]byte, 40)
	t.Run("a hello that never ends", func(t *testing.T) {
		var p Packets
		for i := range MaxDatagrams {
			r, err := p.Feed(seal(1, dcid, uint32(i), cryptoFrame(0, []byte{1, 0, 0x20, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})))
			if last := i == MaxDatagrams-1; r.Protocol != "quic" || last != (err == nil) {
				t.Fatalf("datagram %d: %+v, %v", i, r, err)
			}
		}
	})
	for _, tt := range []struct {
		name   string
		frames []byte
	}{
		{"close", append([]byte{0x1c, 0, 0, 0}, padding...)},
		{"stream frame", append([]byte{8, 0, 0}, padding...)},
		{"offset beyond the bound", append(cryptoFrame(maxHello, make([]byte, 40)), padding...)},
		{"not a hello", append(cryptoFrame(0, []byte{2, 0, 0, 40}), padding...)},
		{"broken frame", append(padding, 6, 0, 0x7f)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p Packets
			if r, err := p.Feed(seal(1, dcid, 0, tt.frames)); err != nil || r != (Result{Protocol: "quic"}) {
				t.Errorf("got %+v, %v, want quic", r, err)
			}
		})
	}
	t.Run("wrong key", func(t *testing.T) {
		b := seal(1, dcid, 0, padding)
		b[len(b)-1] ^= 1
		var p Packets
		if _, err := p.Feed(b); !errors.Is(err, ErrUnknown) {
			t.Errorf("err = %v, want ErrUnknown", err)
		}
		if _, err := p.Feed(seal(1, dcid, 0, padding)); !errors.Is(err, ErrUnknown) {
			t.Errorf("second datagram after ErrUnknown: err = %v", err)
		}
	})
	t.Run("prefixes", func(t *testing.T) {
		b := seal(1, dcid, 0, padding)
		for i := range b {
			var p Packets
			if _, err := p.Feed(b[:i]); !errors.Is(err, ErrUnknown) {
				t.Fatalf("prefix of %d bytes: err = %v, want ErrUnknown", i, err)
			}
		}
	})
}

func TestDatagram(t *testing.T) {
	unhex := func(s string) string {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const id = "abcdefghij0123456789"
	query := unhex("1234 0100 0001 0000 0000 0000 03777777 076578616d706c65 036f7267 00 0001 0001")
	edns := unhex("1234 0120 0001 0000 0000 0001 03777777 00 001c 0001 00 0029 04d0 00000000 0000")
	for _, tt := range []struct{ name, in, protocol string }{
		{"tracker", unhex("0000041727101980 00000000 12345678"), "bittorrent"},
		{"tracker, other action", unhex("0000041727101980 00000001 12345678"), ""},
		{"dht query", "d1:ad2:id20:" + id + "e1:q4:ping1:t2:aa1:y1:qe", "bittorrent"},
		{"dht answer", "d1:rd2:id20:" + id + "e1:t2:aa1:y1:re", "bittorrent"},
		{"dht, cut", "d1:ad2:id20:" + id, ""},
		{"utp syn", unhex("4100 0001 12345678 00000000 00100000 0001 0000"), "bittorrent"},
		{"utp syn of libtorrent", unhex("4100 abcd 12345678 00000000 00000000 abcd 0000"), "bittorrent"},
		{"utp syn, extension", unhex("4102 0001 12345678 00000000 00100000 0001 0000 00 08 0000000000000000"), "bittorrent"},
		{"utp data", unhex("0100 0001 12345678 00000000 00100000 0001 0000"), ""},
		{"utp syn, payload", unhex("4100 0001 12345678 00000000 00100000 0001 0000 00"), ""},
		{"utp syn, answering", unhex("4100 0001 12345678 00000001 00100000 0001 0000"), ""},
		{"utp syn, broken extension", unhex("4102 0001 12345678 00000000 00100000 0001 0000 00 09 00"), ""},
		{"dns", query, "dns"},
		{"dns, edns", edns, "dns"},
		{"dns, cut", query[:len(query)-1], ""},
		{"dns, more", query + "x", ""},
		{"dns answer", query[:2] + "\x81" + query[3:], ""},
		{"stun", unhex("0001 0000 2112a442 000000000000000000000000"), ""},
		{"empty", "", ""},
		{"quic, version negotiation", unhex("c0 1a2a3a4a 08 0102030405060708 00") + strings.Repeat("x", 1200), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p Packets
			r, err := p.Feed([]byte(tt.in))
			if r != (Result{Protocol: tt.protocol}) || (err == nil) != (tt.protocol != "") {
				t.Errorf("got %+v, %v, want %q", r, err, tt.protocol)
			}
		})
	}
}
