package shadowsocksr

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/ssr/cipher"
	"heki/internal/protocol/ssr/obfs"
	"heki/internal/protocol/ssr/protocol"
	"heki/internal/protocol/wire"
	"heki/internal/protocol/wire/wiretest"
	"heki/option"
)

// TestNames: what the options allow is what the codecs know.
func TestNames(t *testing.T) {
	for name, pair := range map[string][2][]string{
		"method":   {option.SSRMethods(), cipher.Names()},
		"protocol": {option.SSRProtocols(), protocol.Names()},
		"obfs":     {option.SSRObfsNames(), obfs.Names()},
	} {
		if !slices.Equal(pair[0], pair[1]) {
			t.Errorf("%s: options have %v, codecs %v", name, pair[0], pair[1])
		}
	}
}

// query is a frame for 1.2.3.4:53.
const query = "\x00\x0f\x00\x01\x01\x02\x03\x04\x00\x35query"

func TestFrames(t *testing.T) {
	fake := wiretest.New(strings.NewReader(query + query))
	f, to := newFrames(fake), M.ParseSocksaddr("1.2.3.4:53")
	for range 2 {
		b := buf.New()
		if dst, err := f.ReadPacket(b); err != nil || dst != to || string(b.Bytes()) != "query" {
			t.Errorf("%s, %q, %v", dst, b.Bytes(), err)
		}
		if err := f.WritePacket(b, to); err != nil {
			t.Error(err)
		}
	}
	if got := strings.Join(fake.Writes(), ""); got != query+query {
		t.Errorf("written %q", got)
	}
	for _, bad := range []string{"\x00\x02\x00", "\x00\x08\x00\x01\x01\x02\x03\x04", "\x00\x0f\x00\x07\x01\x02\x03\x04\x00\x35query"} {
		b := buf.New()
		if _, err := newFrames(wiretest.New(strings.NewReader(bad))).ReadPacket(b); !errors.Is(err, wire.ErrBadRequest) {
			t.Errorf("%q: %v", bad, err)
		}
		b.Release()
	}
	for i := 1; i < len(query); i++ {
		b := buf.New()
		if _, err := newFrames(wiretest.New(strings.NewReader(query[:i]))).ReadPacket(b); err == nil {
			t.Errorf("%d of %d bytes are a frame", i, len(query))
		}
		b.Release()
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte(query))
	f.Fuzz(func(t *testing.T, in []byte) {
		b := buf.NewSize(1 << 16)
		defer b.Release()
		_, err := newFrames(wiretest.New(bytes.NewReader(in))).ReadPacket(b)
		if err == nil && b.Len() > len(in) {
			t.Errorf("%d bytes of %d", b.Len(), len(in))
		}
	})
}
