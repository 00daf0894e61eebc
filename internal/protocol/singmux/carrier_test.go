package singmux

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"heki/internal/protocol/wire/wiretest"
)

// padded encodes writes as a client does.
func padded(writes ...string) string {
	var b []byte
	for i, w := range writes {
		if i >= paddedWrites {
			b = append(b, w...)
			continue
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(w)))
		b = binary.BigEndian.AppendUint16(b, uint16(i))
		b = append(b, w...)
		b = append(b, strings.Repeat("p", i)...)
	}
	return string(b)
}

func TestPaddedRead(t *testing.T) {
	writes := make([]string, 20)
	for i := range writes {
		writes[i] = strings.Repeat(string(rune('a'+i)), 3*i) // the first is empty
	}
	in := padded(writes...)
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in))} {
		c := newCarrier(wiretest.New(r), Hello{Padding: true})
		got, err := io.ReadAll(c)
		if want := strings.Join(writes, ""); string(got) != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	for i := 1; i < len(padded(writes[:4]...)); i++ { // cut inside a padded write: no orderly end
		c := newCarrier(wiretest.New(strings.NewReader(in[:i])), Hello{Padding: true})
		if _, err := io.ReadAll(c); err == nil && strings.HasPrefix(in, padded(writes[:3]...)) && !whole(writes, i) {
			t.Errorf("cut at %d: no error", i)
		}
	}
}

// whole reports whether n bytes are a whole number of writes.
func whole(writes []string, n int) bool {
	for i := range writes {
		if len(padded(writes[:i+1]...)) == n {
			return true
		}
	}
	return false
}

func TestPaddedWrite(t *testing.T) {
	fake := wiretest.New(strings.NewReader(""))
	c := newCarrier(fake, Hello{Padding: true})
	var want []byte
	for i := range 20 {
		p := bytes.Repeat([]byte{byte('a' + i)}, 5*(i+1))
		want = append(want, p...)
		if n, err := c.Write(p); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	writes := fake.Writes()
	if len(writes) != 20 {
		t.Fatalf("%d writes, want 20", len(writes))
	}
	var got []byte
	for i, w := range writes {
		if i >= paddedWrites {
			got = append(got, w...)
			continue
		}
		data, padding := int(binary.BigEndian.Uint16([]byte(w))), int(binary.BigEndian.Uint16([]byte(w[2:])))
		if padding < minPadding || padding > maxPadding || len(w) != 4+data+padding {
			t.Fatalf("write %d: %d bytes, %d of data, %d of padding", i, len(w), data, padding)
		}
		if strings.Trim(w[4+data:], "\x00") != "" {
			t.Errorf("write %d: padding is not zero", i)
		}
		got = append(got, w[4:4+data]...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Large writes are cut where the length ends, and frames stay in one write.
func TestPaddedWriteLarge(t *testing.T) {
	fake := wiretest.New(strings.NewReader(""))
	c := newCarrier(fake, Hello{Padding: true})
	big := bytes.Repeat([]byte("x"), 2*maxPadded+5)
	if n, err := c.Write(big); n != len(big) || err != nil {
		t.Fatal(n, err)
	}
	if n, err := c.WriteBuffers([][]byte{[]byte("head"), []byte("body")}); n != 8 || err != nil {
		t.Fatal(n, err)
	}
	reader := newCarrier(wiretest.New(strings.NewReader(strings.Join(fake.Writes(), ""))), Hello{Padding: true})
	got, err := io.ReadAll(reader)
	if string(got) != string(big)+"headbody" || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := len(fake.Writes()); n != 4 {
		t.Errorf("%d writes, want 4", n)
	}
}

func TestFramesInOneWrite(t *testing.T) {
	fake := wiretest.New(strings.NewReader(""))
	c := newCarrier(fake, Hello{Protocol: ProtocolYamux})
	data, window := "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x05", "\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x00\x05"
	for _, p := range []string{window, data, "hello", data, strings.Repeat("b", yamuxHeader), window} {
		if n, err := io.WriteString(c, p); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	want := []string{window, data + "hello", data + strings.Repeat("b", yamuxHeader), window}
	if got := fake.Writes(); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("writes = %q, want %q", got, want)
	}
}

// The data that a carrier reads is what another has written, whatever the sizes.
func FuzzPadding(f *testing.F) {
	f.Add([]byte("hello"), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		fake := wiretest.New(strings.NewReader(""))
		c := newCarrier(fake, Hello{Padding: true})
		for rest := in; len(rest) > 0; {
			n := min(len(rest), int(step)+1)
			if _, err := c.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		out, err := io.ReadAll(newCarrier(wiretest.New(strings.NewReader(strings.Join(fake.Writes(), ""))), Hello{Padding: true}))
		if err != nil || !bytes.Equal(out, in) {
			t.Errorf("%d bytes, %v, want %d", len(out), err, len(in))
		}
	})
}

// What a client says before its sessions begin never makes Serve hang or panic.
func FuzzCarrierRead(f *testing.F) {
	f.Add([]byte(padded("a", "bc", "")))
	f.Fuzz(func(_ *testing.T, in []byte) {
		c := newCarrier(wiretest.New(bytes.NewReader(in)), Hello{Padding: true})
		n, _ := io.Copy(io.Discard, c)
		if int(n) > len(in) {
			panic("more data than bytes")
		}
	})
}
