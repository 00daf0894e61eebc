package obfs

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// httpStart is http_simple and http_post at the server, which takes either for both: the head of the
// stream is in the URL of a request, in hex, and the rest follows it.
type httpStart struct {
	plain
	server   *Server
	gate     Gate
	begun    bool // the request is through
	answered bool
}

func httpServer(s *Server, g Gate, _ io.Reader) Codec { return &httpStart{server: s, gate: g} }

// blank ends the head of a request or response.
var blank = []byte("\r\n\r\n")

// methods begin what clients send.
var methods = [...]string{"GET /", "POST /"}

// couldBe says whether b may be the start of one of the methods.
func couldBe(b []byte) bool {
	for _, m := range methods {
		if n := min(len(b), len(m)); string(b[:n]) == m[:n] {
			return true
		}
	}
	return false
}

// Decode implements Codec.
func (h *httpStart) Decode(dst, src []byte) (n, used int, err error) {
	if h.begun {
		return h.plain.Decode(dst, src)
	}
	head, err := requestHead(src)
	if head == nil || err != nil {
		return 0, 0, err
	}
	if err := h.server.allowed(h.gate, HostOf(header(head, "Host"))); err != nil {
		return 0, 0, err
	}
	n = unescape(dst, head)
	h.begun = true
	n += copy(dst[n:], src[len(head)+len(blank):])
	return n, len(src), nil
}

// requestHead is the head of the request that b begins with, without the blank line that ends it, or nil
// while it is not whole.
func requestHead(b []byte) ([]byte, error) {
	end := bytes.Index(b, blank)
	if !couldBe(b) || end < 0 && len(b) >= MaxHello {
		return nil, ErrHello
	}
	if end < 0 {
		return nil, nil
	}
	return b[:end], nil
}

// header returns the value of a header, without blanks.
func header(head []byte, name string) string {
	for line := range bytes.SplitSeq(head, blank[:2]) {
		key, value, ok := bytes.Cut(line, []byte{':'})
		if ok && strings.EqualFold(string(key), name) {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// unescape writes the bytes that the first line of head has as %xx to dst. The first part that is
// longer than two characters ends them, and its two count.
func unescape(dst, head []byte) (n int) {
	line, _, _ := bytes.Cut(head, blank[:2])
	_, rest, _ := bytes.Cut(line, []byte{'%'})
	for len(rest) >= 2 {
		if _, err := hex.Decode(dst[n:n+1], rest[:2]); err != nil {
			return n
		}
		n++
		if len(rest) < 3 || rest[2] != '%' {
			return n
		}
		rest = rest[3:]
	}
	return n
}

const httpAnswer = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Encoding: gzip\r\nContent-Type: text/html\r\nDate: "

const httpAnswerEnd = "\r\nServer: nginx\r\nVary: Accept-Encoding\r\n\r\n"

// Open implements Codec.
func (h *httpStart) Open(b []byte) []byte {
	if h.answered {
		return b
	}
	h.answered = true
	b = append(b, httpAnswer...)
	b = h.gate.Now().UTC().AppendFormat(b, http.TimeFormat)
	return append(b, httpAnswerEnd...)
}

// Front implements Codec.
func (h *httpStart) Front() int {
	if h.answered {
		return 0
	}
	return len(httpAnswer) + len(http.TimeFormat) + len(httpAnswerEnd)
}

// httpDial is http_simple or http_post at the client.
type httpDial struct {
	plain
	client *Client
	random io.Reader
	method string
	asked  bool // the request is out
	begun  bool // the answer's head is through
	seen   int  // bytes of the answer's head
	tail   [4]byte
}

func httpClient(method string) func(*Client, io.Reader) Codec {
	return func(c *Client, random io.Reader) Codec {
		return &httpDial{client: c, random: random, method: method}
	}
}

// urlHead is how much of the first write goes into the URL, at least and less than how much more.
const (
	urlHead   = 30
	urlSpread = 64
)

// Close implements Codec.
func (h *httpDial) Close(b []byte, at int) []byte {
	if h.asked {
		return b
	}
	h.asked = true
	var r [1]byte
	_, _ = io.ReadFull(h.random, r[:])
	data := bytes.Clone(b[at:])
	n := min(len(data), urlHead+int(r[0])%urlSpread)
	b = append(b[:at], h.method...)
	b = append(b, " /"...)
	for _, c := range data[:n] {
		b = append(b, '%')
		b = hex.AppendEncode(b, []byte{c})
	}
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, h.client.Host...)
	if h.client.Port != 80 {
		b = strconv.AppendUint(append(b, ':'), uint64(h.client.Port), 10)
	}
	b = append(b, httpRequest...)
	if h.method == "POST" {
		b = append(b, "Content-Type: multipart/form-data; boundary="...)
		var boundary [16]byte
		_, _ = io.ReadFull(h.random, boundary[:])
		b = append(hex.AppendEncode(b, boundary[:]), "\r\n"...)
	}
	b = append(b, "DNT: 1\r\nConnection: keep-alive\r\n\r\n"...)
	return append(b, data[n:]...)
}

const httpRequest = "\r\nUser-Agent: Mozilla/5.0 (Windows NT 6.3; WOW64; rv:40.0) Gecko/20100101 Firefox/44.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.8\r\nAccept-Encoding: gzip, deflate\r\n"

// Front implements Codec.
func (h *httpDial) Front() int {
	if h.asked {
		return 0
	}
	return 512 + len(h.client.Host) + 2*(urlHead+urlSpread) + len(httpRequest)
}

// Decode implements Codec.
func (h *httpDial) Decode(dst, src []byte) (n, used int, err error) {
	if !h.begun {
		used, h.begun = skipHead(src, &h.tail)
		if h.seen += used; h.seen > MaxHello {
			return 0, 0, ErrHello
		}
	}
	n = copy(dst, src[used:])
	return n, used + n, nil
}

// skipHead finds the end of a head that comes in parts. tail is its last bytes so far.
func skipHead(src []byte, tail *[4]byte) (used int, done bool) {
	for i, c := range src {
		copy(tail[:], tail[1:])
		tail[3] = c
		if bytes.Equal(tail[:], blank) {
			return i + 1, true
		}
	}
	return len(src), false
}
