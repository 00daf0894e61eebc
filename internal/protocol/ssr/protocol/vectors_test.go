package protocol

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"heki/internal/protocol/ssr/cipher"
	"heki/internal/protocol/ssr/ssrtest"
)

func TestRNG(t *testing.T) {
	for _, v := range ssrtest.Load(t).RNG {
		r := newRNG([16]byte(v.Bin))
		for i, want := range v.Next {
			if got := fmt.Sprint(r.next()); got != want {
				t.Errorf("%x output %d: %s, want %s", v.Bin, i, got, want)
			}
		}
		r = newRNGLen([16]byte(v.Bin), v.Len)
		for i, want := range v.NextLen {
			if got := fmt.Sprint(r.next()); got != want {
				t.Errorf("%x with %d, output %d: %s, want %s", v.Bin, v.Len, i, got, want)
			}
		}
	}
}

func spec(t testing.TB, name string) Spec {
	t.Helper()
	s, ok := ByName(name)
	if !ok {
		t.Fatalf("no protocol %q", name)
	}
	return s
}

func TestSizeLists(t *testing.T) {
	for _, v := range ssrtest.Load(t).Lists {
		s := spec(t, v.Protocol)
		switch p := s.padder(v.Key, v.Interval, v.UTC).(type) {
		case padderB:
			if !slices.Equal(p.l1, v.L1) || !slices.Equal(p.l2, v.L2) {
				t.Errorf("%s %x: %v %v, want %v %v", v.Protocol, v.Key, p.l1, p.l2, v.L1, v.L2)
			}
		case padderC:
			checkList(t, v.Protocol, p.l0, v.L0)
		case padderD:
			checkList(t, v.Protocol, p.l0, v.L0)
		case padderE:
			checkList(t, v.Protocol, p.l0, v.L0)
		default:
			t.Errorf("%s: %T", v.Protocol, p)
		}
	}
}

func checkList(t *testing.T, name string, got, want []int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", name, got, want)
	}
}

func TestPads(t *testing.T) {
	for _, v := range ssrtest.Load(t).Pads {
		s := spec(t, v.Protocol)
		p := s.padder(v.Key, DefaultInterval, v.UTC)
		for _, row := range v.Rows {
			var n int
			var hash ssrtest.Bytes
			unmarshal(t, row[0], &n)
			unmarshal(t, row[1], &hash)
			pad, r := p.pad([16]byte(hash), n, v.Overhead)
			// auth_chain_c has three columns: the reference server, C#, C. The first is wrong (§7.4).
			column := 2
			if v.Protocol == "auth_chain_c" {
				column = 3
				pad2, r2 := p.(padderC).padOther([16]byte(hash), n, v.Overhead)
				checkPad(t, v.Protocol+" in C", row[4], n, pad2, &r2)
			}
			checkPad(t, v.Protocol, row[column], n, pad, &r)
		}
	}
}

func unmarshal(t *testing.T, b []byte, to any) {
	t.Helper()
	if err := json.Unmarshal(b, to); err != nil {
		t.Fatal(err)
	}
}

func checkPad(t *testing.T, name string, want json.RawMessage, n, pad int, r *rng) {
	t.Helper()
	var w [2]int
	unmarshal(t, want, &w)
	if at := place(r, n, pad); pad != w[0] || at != w[1] {
		t.Errorf("%s, %d bytes: %d at %d, want %v", name, n, pad, at, w)
	}
}

// stream decrypts one direction of v's wire.
type stream struct {
	xor     cipher.Stream
	records *cipher.Records
	rest    []byte
}

func newStream(m *cipher.Method, key, iv []byte) *stream {
	if m.AEAD {
		return &stream{records: m.Records(key, iv)}
	}
	return &stream{xor: m.Decrypter(key, iv)}
}

func (s *stream) next(t *testing.T, b []byte) []byte {
	if s.xor != nil {
		out := make([]byte, len(b))
		s.xor.XOR(out, b)
		return out
	}
	s.rest = append(s.rest, b...)
	n, used, err := s.records.Open(s.rest)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(s.rest[:n])
	s.rest = s.rest[used:]
	return out
}

// session is a vector through its cipher: what the protocol made of each step.
type session struct {
	ssrtest.Session
	port *Port
	user []byte
	who  Lookup
	wire [][]byte
}

func sessions(t *testing.T) []*session {
	t.Helper()
	all := ssrtest.Load(t)
	var list []*session
	for _, v := range slices.Concat(all.Sessions, all.AEADSessions) {
		m, ok := cipher.ByName(v.Method)
		if !ok {
			t.Fatal(v.Method)
		}
		sp := spec(t, v.Protocol)
		s := &session{Session: v, port: NewPort(sp, v.Key, v.Overhead, 0), user: v.Key}
		if v.UserPassword != nil {
			s.user = sp.UserKey(*v.UserPassword)
		}
		s.who = func(uid uint32) ([]byte, bool) { return s.user, v.UID == nil || *v.UID == uid }
		streams := map[string]*stream{"c2s": newStream(&m, v.Key, v.ClientIV), "s2c": newStream(&m, v.Key, v.ServerIV)}
		ivs := map[string][]byte{"c2s": v.ClientIV, "s2c": v.ServerIV}
		for _, step := range v.Steps {
			b := step.Wire
			if iv := ivs[step.Dir]; len(iv) > 0 {
				b = b[len(iv):]
				ivs[step.Dir] = nil
			}
			s.wire = append(s.wire, streams[step.Dir].next(t, b))
		}
		list = append(list, s)
	}
	return list
}

// TestSessions decodes every session as both ends, and makes the same bytes again.
func TestSessions(t *testing.T) {
	for _, v := range sessions(t) {
		t.Run(v.Name, func(t *testing.T) {
			first := bytes.Clone(v.wire[0])
			a, err := v.port.Accept(Session{IV: v.ClientIV, Rand: never{t}}, first, v.who)
			if err != nil {
				t.Fatal(err)
			}
			v.checkHead(t, a)
			up, down := a.Decoder, v.clientDecoder(t)
			plain := bytes.Clone(first[:a.Payload])
			rest := first[a.Used:]
			for i, step := range v.Steps {
				if step.Dir == "s2c" {
					b := bytes.Clone(v.wire[i])
					n, used, _, err := down.Decode(b)
					if err != nil || used != len(b) || !step.Plain.Matches(b[:n]) {
						t.Fatalf("step %d: %d of %d bytes, %v", i, used, len(b), err)
					}
					continue
				}
				if i > 0 {
					rest, plain = bytes.Clone(v.wire[i]), nil
				}
				n, used, answer, err := up.Decode(rest)
				plain = append(plain, rest[:n]...)
				if err != nil || used != len(rest) || !step.Plain.Matches(plain) {
					t.Fatalf("step %d: %d of %d bytes, %d of %d payload, %v", i, used, len(rest), len(plain), step.Plain.Len, err)
				}
				if answer = answer || i == 0 && a.Answer; answer != step.SendBack {
					t.Errorf("step %d: answer %v, want %v", i, answer, step.SendBack)
				}
			}
		})
	}
}

func (v *session) checkHead(t *testing.T, a Accepted) {
	t.Helper()
	if v.Protocol == "origin" {
		return
	}
	want := Head{UID: a.UID, UTC: v.Time, ClientID: v.ClientID, ConnID: v.ConnID}
	if v.UID != nil {
		want.UID = *v.UID
	}
	if v.ClientID == 0 { // the vector does not say
		want.ClientID, want.ConnID = a.ClientID, a.ConnID
	}
	if a.Head != want || !a.Known {
		t.Errorf("head %+v, want %+v", a.Head, want)
	}
}

// never is a source of randomness that is not asked.
type never struct{ t *testing.T }

func (n never) Read([]byte) (int, error) {
	n.t.Error("randomness was drawn")
	return 0, errors.New("never")
}

// clientDecoder is the decoder of the client of the session: its key needs the client's head.
func (v *session) clientDecoder(t *testing.T) Decoder {
	t.Helper()
	_, d := v.port.Client(Session{IV: v.ClientIV, Rand: bytes.NewReader(v.wire[0])}, v.identity(t))
	return d
}

func (v *session) identity(t *testing.T) Identity {
	t.Helper()
	a, err := v.port.Accept(Session{IV: v.ClientIV}, bytes.Clone(v.wire[0]), v.who)
	if err != nil {
		t.Fatal(err)
	}
	return Identity{Head: a.Head, Key: v.user}
}

// TestSessionsAgain makes what the reference made of the same payload and randomness, byte for byte.
func TestSessionsAgain(t *testing.T) {
	for _, v := range sessions(t) {
		t.Run(v.Name, func(t *testing.T) {
			for _, dir := range []string{"c2s", "s2c"} {
				var all []byte
				for i, step := range v.Steps {
					if step.Dir == dir {
						all = append(all, v.wire[i]...)
					}
				}
				var got []byte
				switch {
				case v.Protocol == "origin":
					got = origin{}.Append(nil, all)
				case v.Protocol[:9] == "auth_aes1":
					got = v.remakeAES(t, dir, all)
				default:
					got = v.remakeChain(t, dir, all)
				}
				if !bytes.Equal(got, all) {
					t.Errorf("%s: %d bytes, want %d; they differ from %d on", dir, len(got), len(all), differ(got, all))
				}
			}
		})
	}
}

func differ(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// remakeChain takes the frames apart for their data, padding and places, and makes them again.
func (v *session) remakeChain(t *testing.T, dir string, all []byte) []byte {
	t.Helper()
	random := new(bytes.Buffer)
	id := v.identity(t)
	var enc Encoder
	var dec Decoder
	frames := all
	if dir == "c2s" {
		enc, _ = v.port.Client(Session{IV: v.ClientIV, Rand: bytes.NewReader(all)}, id)
		enc.(*chainEncoder).random = random
		a, err := v.port.Accept(Session{IV: v.ClientIV}, bytes.Clone(all), v.who)
		if err != nil {
			t.Fatal(err)
		}
		dec, frames = a.Decoder, all[a.Used:]
	} else {
		a, err := v.port.Accept(Session{IV: v.ClientIV, Rand: random}, bytes.Clone(v.wire[0]), v.who)
		if err != nil {
			t.Fatal(err)
		}
		enc, dec = a.Encoder, v.clientDecoder(t)
	}
	d := stateOf(dec)
	var got []byte
	for len(frames) > 0 {
		n := int(binary.LittleEndian.Uint16(frames) ^ binary.LittleEndian.Uint16(d.last[14:]))
		pad, r := d.pads.pad(d.last, n, d.overhead)
		at := place(&r, n, pad)
		body := frames[2:][:n+pad]
		random.Write(body[:at])
		random.Write(body[at+n:])
		one := bytes.Clone(frames[:n+pad+chainFrame])
		payload, used, _, err := dec.Decode(one)
		if err != nil || used != len(one) {
			t.Fatalf("frame: %d of %d bytes, %v", used, len(one), err)
		}
		got = enc.Append(got, one[:payload])
		frames = frames[used:]
	}
	return got
}

func stateOf(d Decoder) *chainState { return &d.(*chainDecoder).chainState }

// remakeAES does the same for auth_aes128.
func (v *session) remakeAES(t *testing.T, dir string, all []byte) []byte {
	t.Helper()
	id := v.identity(t)
	random := new(bytes.Buffer)
	enc, _ := v.port.Client(Session{IV: v.ClientIV, Rand: random}, id)
	e := enc.(*aesEncoder)
	var got []byte
	if dir == "c2s" {
		first := bytes.Clone(v.wire[0])
		a, err := v.port.Accept(Session{IV: v.ClientIV}, first, v.who)
		if err != nil {
			t.Fatal(err)
		}
		pad := a.Used - aesHead - aesTail - a.Payload
		random.WriteByte(all[0])
		random.Write(all[aesHead:][:pad])
		which := &aes128MD5
		if v.Protocol == aes128SHA1.name {
			which = &aes128SHA1
		}
		got = which.appendFirst(nil, first[:a.Payload], pad, portKey(v.port, Session{IV: v.ClientIV}), id, e)
		all = all[a.Used:]
	}
	for len(all) > 0 {
		total, pad, head := int(binary.LittleEndian.Uint16(all)), int(all[4]), 1
		if pad == 255 {
			pad, head = int(binary.LittleEndian.Uint16(all[5:])), 3
		}
		random.Write(all[4+head : 4+pad])
		got = e.appendFrame(got, all[4+pad:total-aesTail], pad)
		all = all[total:]
	}
	return got
}
