package muxcool

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"
)

func TestParseFrame(t *testing.T) {
	tcp80 := "\x01\x00\x50\x01\x01\x02\x03\x04"
	udp53 := "\x02\x00\x35\x02\x04a.io"
	for _, tt := range []struct {
		name, in string
		want     Frame
		addr     string
		err      error
	}{
		{"new tcp", "\x00\x0c\x00\x07\x01\x00" + tcp80, Frame{ID: 7, Status: StatusNew, Network: NetworkTCP}, "1.2.3.4:80", nil},
		{"new udp with data", "\x00\x0d\x00\x00\x01\x01" + udp53 + "\x00\x03", Frame{Status: StatusNew, Option: OptionData, Network: NetworkUDP, Length: 3}, "a.io:53", nil},
		{"global id", "\x00\x15\x00\x00\x01\x01" + udp53 + "\x01\x02\x03\x04\x05\x06\x07\x08\x00\x03", Frame{Status: StatusNew, Option: OptionData, Network: NetworkUDP, Length: 3, GlobalID: GlobalID{1, 2, 3, 4, 5, 6, 7, 8}}, "a.io:53", nil},
		{"tail too short for a global id", "\x00\x14\x00\x00\x01\x01" + udp53 + "\x01\x02\x03\x04\x05\x06\x07\x00\x03", Frame{Status: StatusNew, Option: OptionData, Network: NetworkUDP, Length: 3}, "a.io:53", nil},
		{"tcp has no global id", "\x00\x14\x00\x00\x01\x01" + tcp80 + "\x01\x02\x03\x04\x05\x06\x07\x08\x00\x03", Frame{Status: StatusNew, Option: OptionData, Network: NetworkTCP, Length: 3}, "1.2.3.4:80", nil},
		{"keep", "\x00\x04\x01\x00\x02\x01\xff\xff", Frame{ID: 256, Status: StatusKeep, Option: OptionData, Length: 65535}, "", nil},
		{"keep without data", "\x00\x04\x01\x00\x02\x00", Frame{ID: 256, Status: StatusKeep}, "", nil},
		{"keep udp", "\x00\x0d\x00\x00\x02\x01" + udp53 + "\x00\x00", Frame{Status: StatusKeep, Option: OptionData, Network: NetworkUDP}, "a.io:53", nil},
		{"keep tcp ignores its tail", "\x00\x06\x00\x01\x02\x01\x01\xff\x00\x01", Frame{ID: 1, Status: StatusKeep, Option: OptionData, Length: 1}, "", nil},
		{"end", "\x00\x04\x00\x01\x03\x02", Frame{ID: 1, Status: StatusEnd, Option: OptionError}, "", nil},
		{"end ignores its tail", "\x00\x05\x00\x01\x03\x00\x02", Frame{ID: 1, Status: StatusEnd}, "", nil},
		{"keep alive", "\x00\x04\x00\x00\x04\x00", Frame{Status: StatusKeepAlive}, "", nil},
		{"unknown option bits", "\x00\x04\x00\x01\x02\xf8", Frame{ID: 1, Status: StatusKeep, Option: 0xf8}, "", nil},
		{"longest", "\x02\x00\x00\x01\x04\x00" + strings.Repeat("x", 508), Frame{ID: 1, Status: StatusKeepAlive}, "", nil},

		{"new without address", "\x00\x04\x00\x01\x01\x00", Frame{ID: 1, Status: StatusNew}, "", nil},
		{"new with a cut address", "\x00\x08\x00\x01\x01\x00\x01\x00\x50\x01", Frame{ID: 1, Status: StatusNew, Network: NetworkTCP}, "", nil},
		{"new with a bad host", "\x00\x0a\x00\x01\x01\x00\x01\x00\x50\x02\x01/", Frame{ID: 1, Status: StatusNew, Network: NetworkTCP}, "", nil},
		{"new with an unknown network", "\x00\x0c\x00\x01\x01\x00\x03\x00\x50\x01\x01\x02\x03\x04", Frame{ID: 1, Status: StatusNew, Network: 3}, "", nil},

		{"metadata too short", "\x00\x03", Frame{}, "", ErrBadFrame},
		{"metadata too long", "\x02\x01", Frame{}, "", ErrBadFrame},
		{"metadata far too long", "\x03", Frame{}, "", ErrBadFrame},
		{"status 0", "\x00\x04\x00\x01\x00", Frame{}, "", ErrBadFrame},
		{"status 5", "\x00\x04\x00\x01\x05", Frame{}, "", ErrBadFrame},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := tt.in
			if tt.err == nil {
				in += "payload"
			}
			f, n, err := ParseFrame([]byte(in), "")
			if !errors.Is(err, tt.err) {
				t.Fatalf("err = %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if tt.addr != "" {
				tt.want.Address = M.ParseSocksaddr(tt.addr)
			}
			if f != tt.want || n != len(tt.in) {
				t.Errorf("got  %+v, %d bytes\nwant %+v, %d", f, n, tt.want, len(tt.in))
			}
			for i := range n { // every prefix asks for more, none panics
				if _, _, err := ParseFrame([]byte(tt.in[:i]), ""); !errors.Is(err, ErrShort) {
					t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
				}
			}
		})
	}
}

// The bytes are what Xray's FrameMetadata.WriteTo makes of the same fields, followed by data.
func TestAppendFrame(t *testing.T) {
	for _, tt := range []struct {
		f    Frame
		want string
	}{
		{Frame{ID: 1, Status: StatusNew, Option: OptionData, Network: NetworkTCP, Address: M.ParseSocksaddr("a.io:443"), Length: 5}, "\x00\x0d\x00\x01\x01\x01\x01\x01\xbb\x02\x04a.io\x00\x05"},
		{Frame{ID: 2, Status: StatusKeep, Option: OptionData, Length: 8192}, "\x00\x04\x00\x02\x02\x01\x20\x00"},
		{Frame{Status: StatusKeep, Option: OptionData, Network: NetworkUDP, Address: M.ParseSocksaddr("8.8.8.8:53"), Length: 1}, "\x00\x0c\x00\x00\x02\x01\x02\x00\x35\x01\x08\x08\x08\x08\x00\x01"},
		{Frame{ID: 3, Status: StatusEnd, Option: OptionError}, "\x00\x04\x00\x03\x03\x02"},
	} {
		if got := string(AppendFrame(nil, tt.f)); got != tt.want {
			t.Errorf("%+v:\n got %q\nwant %q", tt.f, got, tt.want)
		}
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add([]byte("\x00\x0d\x00\x01\x01\x01\x01\x01\xbb\x02\x04a.io\x00\x05hello"))
	f.Add([]byte("\x00\x15\x00\x00\x01\x01\x02\x00\x35\x02\x04a.io\x01\x02\x03\x04\x05\x06\x07\x08\x00\x03"))
	f.Add([]byte("\x00\x0c\x00\x00\x02\x01\x02\x00\x35\x01\x08\x08\x08\x08\x00\x01x"))
	f.Add([]byte("\x00\x04\x00\x03\x03\x02"))
	f.Fuzz(func(t *testing.T, in []byte) {
		frame, n, err := ParseFrame(in, "")
		if err != nil {
			return
		}
		if n > maxHeader || n > len(in) {
			t.Errorf("a header of %d bytes out of %d", n, len(in))
		}
		if _, _, err := ParseFrame(in[:n-1], ""); !errors.Is(err, ErrShort) {
			t.Errorf("one byte less: %v, want ErrShort", err)
		}
		if again, m, err := ParseFrame(bytes.Clone(in[:n]), ""); err != nil || m != n || again != frame {
			t.Errorf("reads over its end: %v", err)
		}
		if (frame.Status == StatusNew || frame.Network != 0) && !frame.Address.IsValid() {
			return // nothing that we would write
		}
		out := AppendFrame(nil, frame)
		if again, m, err := ParseFrame(out, ""); err != nil || m != len(out) || again != frame {
			t.Errorf("came back as %+v, %v; was %+v", again, err, frame)
		}
	})
}

func TestParseFrameAllocs(t *testing.T) {
	in := AppendFrame(nil, udp(0, StatusKeep, "www.example.com:53"))
	if n := testing.AllocsPerRun(100, func() { _, _, _ = ParseFrame(in, "www.example.com") }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
