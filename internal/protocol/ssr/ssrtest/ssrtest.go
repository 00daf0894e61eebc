// Package ssrtest holds the vectors that the ShadowsocksR codecs are tested against. Tests only.
package ssrtest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"sync"
	"testing"
)

//go:embed testdata/vectors.json.gz
var packed []byte

// Bytes is written in hex.
type Bytes []byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// Digest stands for a plaintext.
type Digest struct {
	Len    int
	SHA256 Bytes // its first half
}

// Matches says whether b is that plaintext.
func (d Digest) Matches(b []byte) bool {
	sum := sha256.Sum256(b)
	return len(b) == d.Len && bytes.Equal(sum[:16], d.SHA256)
}

// Vectors is the file. Fields are as in its README.
type Vectors struct {
	Keys []struct {
		Password string
		KeyLen   int `json:"key_len"`
		Key      Bytes
	} `json:"evp_bytestokey"`
	Streams []Cipher `json:"stream_ciphers"`
	AEAD    []Cipher `json:"aead_ciphers"`
	RNG     []struct {
		Bin     Bytes
		Len     int
		Next    []string
		NextLen []string `json:"next_after_init_with_len"`
	} `json:"xorshift128plus"`
	Lists []struct {
		Protocol, Method string
		Key              Bytes
		L1               []int  `json:"data_size_list"`
		L2               []int  `json:"data_size_list2"`
		L0               []int  `json:"data_size_list0"`
		UTC              uint32 `json:"utc_time"`
		Interval         int    `json:"key_change_interval"`
	} `json:"chain_size_lists"`
	Pads []struct {
		Protocol, Method string
		Key              Bytes
		Overhead         int
		UTC              uint32 `json:"utc_time"`
		Rows             [][]json.RawMessage
	} `json:"chain_rnd_len"`
	Sessions     []Session `json:"tcp_sessions"`
	AEADSessions []Session `json:"tcp_sessions_aead"`
	UDP          []Session `json:"udp"`
	Obfs         []Obfs    `json:"obfs"`
	SimpleObfs   []Obfs    `json:"simple_obfs"`
	Hosts        []struct {
		Regex                  string `json:"mu_regex"`
		Suffix                 string `json:"mu_suffix"`
		ID                     int64
		Passwd                 string
		Method, Obfs, Protocol string
		Host                   string
	} `json:"mu_host"`
	Captures []Capture
}

// Cipher is one of a key.
type Cipher struct {
	Method   string
	Key      Bytes
	IV       Bytes
	Salt     Bytes
	Chunks   []Bytes
	TCPWire  Bytes `json:"tcp_wire"`
	UDPPlain Bytes `json:"udp_plain"`
	UDPWire  Bytes `json:"udp_wire"`
}

// Session is a stream through protocol and cipher, or datagrams.
type Session struct {
	Name, Protocol, Method string
	Key                    Bytes
	ClientIV               Bytes  `json:"client_iv"`
	ServerIV               Bytes  `json:"server_iv"`
	Time                   uint32 `json:"time"`
	Overhead               int
	UID                    *uint32
	UserPassword           *string `json:"user_password"`
	ClientID               uint32  `json:"client_id"`
	ConnID                 uint32  `json:"connection_id"`
	Steps                  []struct {
		Dir      string
		Plain    Digest
		Wire     Bytes
		SendBack bool `json:"sendback"`
	}
	Packets []struct {
		ToServer     Digest `json:"c2s_plain"`
		ToServerWire Bytes  `json:"c2s_wire"`
		ToClient     Digest `json:"s2c_plain"`
		ToClientWire Bytes  `json:"s2c_wire"`
	}
}

// Obfs is a stream through an obfs.
type Obfs struct {
	Obfs, Case string
	Key        Bytes
	Host       string
	Time       int64
	ClientID   Bytes `json:"client_id"`
	Steps      []struct {
		Dir     string
		Payload Bytes
		Wire    Bytes
	}
}

// Capture is what a real client and the reference server sent.
type Capture struct {
	Client, Protocol, Obfs, Method, Password string
	ProtocolParam                            string `json:"protocol_param"`
	ObfsParam                                string `json:"obfs_param"`
	Time                                     int64
	TCP                                      [][2]string
	UDP                                      [][2]string
	ToServer                                 Digest  `json:"c2s"`
	ToClient                                 Digest  `json:"s2c"`
	UDPDest                                  string  `json:"udp_dest"`
	UDPSent                                  []Bytes `json:"udp_app_c2s"`
}

var load = sync.OnceValues(func() (*Vectors, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	v := new(Vectors)
	return v, json.NewDecoder(r).Decode(v)
})

// Load returns the vectors.
func Load(t testing.TB) *Vectors {
	t.Helper()
	v, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Hex decodes text.
func Hex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
