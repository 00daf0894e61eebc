// Package obfs is the outermost layer of ShadowsocksR over TCP: it makes a stream look like HTTP or
// TLS, as far as the first packets. ssr.md §8 is the source.
package obfs

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Errors of decoders; all are final.
var (
	// ErrHello says that the first bytes are not those of a client.
	ErrHello = errors.New("not a client's first bytes")
	// ErrReplay says that the first bytes were seen before, or are out of time.
	ErrReplay = errors.New("seen before or out of time")
	// ErrHost says that the host is none of the allowed.
	ErrHost = errors.New("host is not allowed")
	// ErrRecord is wrapped by errors in the middle of a stream.
	ErrRecord = errors.New("bad record")
)

// MaxHello is the longest beginning of a client in bytes that is waited for. simple-obfs puts up to
// 16 KiB of payload into it.
const MaxHello = 20 << 10

// Spec is an obfs. The zero value is none of them.
type Spec struct {
	Name string
	// Overhead is what the obfs counts as its own of every frame of the protocol, in bytes.
	Overhead int
	// Hosts says that the client names a host in it.
	Hosts bool

	server func(*Server, Gate, io.Reader) Codec
	client func(*Client, io.Reader) Codec
}

// specs is every obfs, by name.
var specs = [...]Spec{
	{Name: "plain", server: plainServer, client: plainClient},
	{Name: "http_simple", Hosts: true, server: httpServer, client: httpClient("GET")},
	{Name: "http_post", Hosts: true, server: httpServer, client: httpClient("POST")},
	{Name: "tls1.2_ticket_auth", Overhead: recordHead, Hosts: true, server: ticketServer, client: ticketClient},
	{Name: "simple_obfs_http", Hosts: true, server: simpleHTTPServer, client: simpleHTTPClient},
	{Name: "simple_obfs_tls", Overhead: recordHead, Hosts: true, server: simpleTLSServer, client: simpleTLSClient},
}

// ByName returns the obfs of that name.
func ByName(name string) (Spec, bool) {
	i := slices.IndexFunc(specs[:], func(s Spec) bool { return s.Name == name })
	if i < 0 {
		return Spec{}, false
	}
	return specs[i], true
}

// Names returns every obfs.
func Names() []string {
	names := make([]string, len(specs))
	for i := range specs {
		names[i] = specs[i].Name
	}
	return names
}

// DefaultSkew is how far a client's clock may be off.
const DefaultSkew = 24 * time.Hour

// Server is an obfs of a port. It is for any number of goroutines.
type Server struct {
	spec  Spec
	key   []byte
	hosts []string      // allowed; none: any
	skew  time.Duration // 0: not checked
}

// NewServer returns the obfs for a port's key, which is kept. param is its obfs_param: allowed hosts
// for HTTP, allowed skew in seconds for TLS, where 0 and less is any and anything else the default.
func NewServer(spec Spec, key []byte, param string) *Server {
	s := &Server{spec: spec, key: key, skew: DefaultSkew}
	if spec.Overhead != 0 {
		if seconds, err := strconv.Atoi(strings.TrimSpace(param)); err == nil {
			s.skew = time.Duration(min(max(seconds, 0), 1<<31)) * time.Second
		}
		return s
	}
	param, _, _ = strings.Cut(param, "#") // clients have headers there, and panels give us what is theirs
	for host := range strings.SplitSeq(param, ",") {
		if host = HostOf(strings.TrimSpace(host)); host != "" {
			s.hosts = append(s.hosts, host)
		}
	}
	return s
}

// Gate decides what clients may begin with.
type Gate interface {
	// Host is told the host that the client names, by HostOf, or "". An error refuses it.
	Host(host string) error
	// Fresh says that the start of an authentic hello's random was not seen lately.
	Fresh(random [22]byte) bool
	// Now is the corrected clock.
	Now() time.Time
}

// Accept returns the codec of one connection. random is for what the answer has of it, and never fails.
func (s *Server) Accept(g Gate, random io.Reader) Codec { return s.spec.server(s, g, random) }

// allowed checks host against obfs_param, then asks g.
func (s *Server) allowed(g Gate, host string) error {
	if len(s.hosts) > 0 && !slices.Contains(s.hosts, host) {
		return fmt.Errorf("%w: %q", ErrHost, host)
	}
	return g.Host(host)
}

// inTime checks the time of a hello.
func (s *Server) inTime(g Gate, utc uint32) bool {
	if s.skew == 0 {
		return true
	}
	off := time.Duration(int32(utc-uint32(g.Now().Unix()))) * time.Second
	return off <= s.skew && off >= -s.skew
}

// Client is an obfs as a client has it.
type Client struct {
	Spec     Spec
	Key      []byte   // of the port
	Host     string   // to name
	Port     uint16   // of the server
	ClientID [32]byte // random for each client process: the TLS session id
	Now      time.Time
}

// Begin returns the codec of one connection.
func (c *Client) Begin(random io.Reader) Codec { return c.Spec.client(c, random) }

// Codec is one connection. Reading and writing may be done by one goroutine each, once the beginning
// is over.
type Codec interface {
	// Decode reads raw bytes of src, which is apart from dst and not longer, and writes the stream
	// that they carry to dst. It returns how much it wrote and how much it used.
	Decode(dst, src []byte) (n, used int, err error)
	// Greeting returns what has to go out before anything else, in one write, or nil: a client's
	// hello at first, a server's answer once the hello was decoded. It is returned once.
	Greeting() []byte
	// Open appends to b what goes before the data that is appended next: Front bytes at most.
	Open(b []byte) []byte
	// Close ends what Open began at that length of b.
	Close(b []byte, at int) []byte
	// Front bounds what Open and Close add together.
	Front() int
	// Ready says that data may be written.
	Ready() bool
}

// HostOf is host without its port, in lower case.
func HostOf(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.Contains(host[i:], "]") {
		host = host[:i]
	}
	return strings.ToLower(host)
}
