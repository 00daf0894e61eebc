package h2

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// Field is one header.
type Field struct{ Name, Value string }

// Message is the head of a request or an answer.
type Message struct {
	Method, Scheme, Authority, Path string // of a request; Path with its query
	Status                          int    // of an answer
	Fields                          []Field
	End                             bool // nothing follows
	size                            int
	broken                          bool // against RFC 9113 §8
	tooLong                         bool // more than maxList
}

// Get returns the value of the first header of that name, in lower case.
func (m *Message) Get(name string) string {
	for _, f := range m.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Split returns the path without its query, and the query.
func (m *Message) Split() (path, query string) {
	path, query, _ = strings.Cut(m.Path, "?")
	return path, query
}

// add takes one field of a header block.
func (m *Message) add(f hpack.HeaderField) {
	if m.size += len(f.Name) + len(f.Value) + 32; m.size > maxList {
		m.tooLong = true
		return
	}
	if !strings.HasPrefix(f.Name, ":") {
		if !validName(f.Name) || connectionField(f.Name, f.Value) {
			m.broken = true
		}
		m.Fields = append(m.Fields, Field{f.Name, f.Value})
		return
	}
	into := (*string)(nil)
	switch f.Name {
	case ":method":
		into = &m.Method
	case ":scheme":
		into = &m.Scheme
	case ":authority":
		into = &m.Authority
	case ":path":
		into = &m.Path
	case ":status":
		n, err := strconv.Atoi(f.Value)
		if err != nil || len(f.Value) != 3 || m.Status != 0 {
			m.broken = true
		}
		m.Status = n
		return
	}
	if into == nil || *into != "" || len(m.Fields) > 0 {
		m.broken = true
		return
	}
	*into = f.Value
}

// validName is RFC 9113 §8.2.1: lower case, no controls.
func validName(name string) bool {
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || 'A' <= c && c <= 'Z' || c == ':' {
			return false
		}
	}
	return name != ""
}

// connectionField is RFC 9113 §8.2.2: headers that belong to HTTP/1.
func connectionField(name, value string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return true
	case "te":
		return value != "trailers"
	}
	return false
}

// isRequest says whether the pseudo headers of a request are there.
func (m *Message) isRequest() bool {
	if m.broken || m.Status != 0 || m.Method == "" || m.Method == "CONNECT" {
		return false
	}
	if m.Authority == "" {
		m.Authority = m.Get("host")
	}
	for _, c := range []byte(m.Path) {
		if c < ' ' || c == 0x7f { // grpc-go sends blanks of a service's name as they are
			return false
		}
	}
	return m.Scheme != "" && strings.HasPrefix(m.Path, "/")
}

// decodeBlock decodes a whole header block, which changes the state of d whatever becomes of m.
func decodeBlock(d *hpack.Decoder, block []byte) (*Message, error) {
	m := new(Message)
	d.SetEmitEnabled(true)
	d.SetEmitFunc(func(f hpack.HeaderField) {
		m.add(f)
		if m.tooLong {
			d.SetEmitEnabled(false)
		}
	})
	_, err := d.Write(block)
	if err = errors.Join(err, d.Close()); err != nil {
		return nil, bad(codeCompression, "header block: "+err.Error())
	}
	return m, nil
}

// statics are the names that HPACK's static table has, of those that we send. RFC 7541 appendix A.
func static(name string) byte {
	switch name {
	case ":authority":
		return 1
	case ":path":
		return 4
	case "cache-control":
		return 24
	case "content-length":
		return 28
	case "content-type":
		return 31
	case "date":
		return 33
	case "server":
		return 54
	case "user-agent":
		return 58
	}
	return 0
}

// AppendField encodes a header as nginx does: literally, with incremental indexing where the static
// table has the name. Peers are told to keep no table.
func AppendField(b []byte, name, value string) []byte {
	if i := static(name); i > 0 {
		b = append(b, 0x40|i)
	} else {
		b = appendString(append(b, 0), name)
	}
	return appendString(b, value)
}

// appendString is RFC 7541 §5.2: Huffman's code where it is shorter.
func appendString(b []byte, s string) []byte {
	if n := hpack.HuffmanEncodeLength(s); n < uint64(len(s)) {
		return hpack.AppendHuffmanString(appendLength(b, 0x80, n), s)
	}
	return append(appendLength(b, 0, uint64(len(s))), s...)
}

// appendLength is an integer with a prefix of 7 bits. RFC 7541 §5.1.
func appendLength(b []byte, first byte, n uint64) []byte {
	if n < 127 {
		return append(b, first|byte(n))
	}
	b = append(b, first|127)
	for n -= 127; n >= 128; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// AppendStatus encodes :status.
func AppendStatus(b []byte, status int) []byte {
	switch status {
	case 200:
		return append(b, 0x88)
	case 400:
		return append(b, 0x8c)
	case 404:
		return append(b, 0x8d)
	}
	return strconv.AppendInt(append(b, 0x48, 3), int64(status), 10)
}
