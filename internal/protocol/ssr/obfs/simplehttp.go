package obfs

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// simpleHTTP is simple-obfs' http at the server: the head of a WebSocket request, then the raw stream.
type simpleHTTP struct {
	plain
	server   *Server
	gate     Gate
	random   io.Reader
	begun    bool
	key      string
	answered bool
}

func simpleHTTPServer(s *Server, g Gate, random io.Reader) Codec {
	return &simpleHTTP{server: s, gate: g, random: random}
}

// Decode implements Codec.
func (h *simpleHTTP) Decode(dst, src []byte) (n, used int, err error) {
	if h.begun {
		return h.plain.Decode(dst, src)
	}
	head, err := requestHead(src)
	if head == nil || err != nil {
		return 0, 0, err
	}
	if !strings.EqualFold(header(head, "Upgrade"), "websocket") {
		return 0, 0, ErrHello
	}
	if err := h.server.allowed(h.gate, HostOf(header(head, "Host"))); err != nil {
		return 0, 0, err
	}
	h.begun, h.key = true, header(head, "Sec-WebSocket-Key")
	n = copy(dst, src[len(head)+len(blank):])
	return n, len(src), nil
}

const (
	simpleHTTPAnswer = "HTTP/1.1 101 Switching Protocols\r\nServer: nginx/1.27.4\r\nDate: "
	simpleHTTPAccept = "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
	webSocketGUID    = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455 §1.3
	acceptSize       = 28                                     // base64 of SHA-1
)

// Open implements Codec.
func (h *simpleHTTP) Open(b []byte) []byte {
	if h.answered {
		return b
	}
	h.answered = true
	b = append(b, simpleHTTPAnswer...)
	b = h.gate.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, simpleHTTPAccept...)
	sum := sha1.Sum([]byte(h.key + webSocketGUID))
	b = base64.StdEncoding.AppendEncode(b, sum[:])
	return append(b, blank...)
}

// Front implements Codec.
func (h *simpleHTTP) Front() int {
	if h.answered {
		return 0
	}
	return len(simpleHTTPAnswer) + len(http.TimeFormat) + len(simpleHTTPAccept) + acceptSize + len(blank)
}

// simpleHTTPDial is the same at the client.
type simpleHTTPDial struct {
	httpDial
}

func simpleHTTPClient(c *Client, random io.Reader) Codec {
	return &simpleHTTPDial{httpDial{client: c, random: random}}
}

// Close implements Codec.
func (h *simpleHTTPDial) Close(b []byte, at int) []byte {
	if h.asked {
		return b
	}
	h.asked = true
	data := bytes.Clone(b[at:])
	b = append(b[:at], "GET / HTTP/1.1\r\nHost: "...)
	b = append(b, h.client.Host...)
	if h.client.Port != 80 {
		b = strconv.AppendUint(append(b, ':'), uint64(h.client.Port), 10)
	}
	b = append(b, "\r\nUser-Agent: curl/8.14.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "...)
	var key [16]byte
	_, _ = io.ReadFull(h.random, key[:])
	b = base64.StdEncoding.AppendEncode(b, key[:])
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(data)), 10)
	return append(append(b, blank...), data...)
}
