// Package connect encodes HTTP's CONNECT to a proxy (RFC 9110 §9.3.6) and decodes the proxy's answer.
package connect

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"heki/internal/protocol/wire"
)

// MaxAnswer bounds an answer's head in bytes.
const MaxAnswer = 16 << 10

// Errors of ParseAnswer. ErrShort asks for more bytes.
var (
	ErrShort     = wire.ErrShort
	ErrBadAnswer = errors.New("not an answer of an HTTP proxy")
	// ErrRefused is wrapped by what a proxy says instead of serving.
	ErrRefused = errors.New("the HTTP proxy refuses")
)

// Field is one header field.
type Field struct{ Name, Value string }

// BasicAuth returns the field for a user of the proxy.
func BasicAuth(username, password string) Field {
	return Field{"Proxy-Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password))}
}

// AppendRequest appends a CONNECT to target, host:port, with fields after its own ones.
func AppendRequest(b []byte, target string, fields []Field) []byte {
	b = append(b, "CONNECT "...)
	b = append(b, target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, target...)
	b = append(b, "\r\n"...)
	for _, f := range fields {
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = append(b, f.Value...)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// prefix is what every answer begins with.
const prefix = "HTTP/1."

// ParseAnswer decodes the head of an answer and returns the status, which is below 200 for answers
// before the last one, and its length in bytes; payload follows. A status that is no success is an
// error.
func ParseAnswer(b []byte) (status, n int, err error) {
	if k := min(len(b), len(prefix)); string(b[:k]) != prefix[:k] {
		return 0, 0, ErrBadAnswer
	}
	n = bytes.Index(b, []byte("\r\n\r\n"))
	if n < 0 {
		if len(b) > MaxAnswer {
			return 0, 0, fmt.Errorf("%w: its head is longer than %d bytes", ErrBadAnswer, MaxAnswer)
		}
		return 0, 0, ErrShort
	}
	line, _, _ := bytes.Cut(b[:n], []byte("\r\n"))
	_, rest, _ := strings.Cut(string(line), " ")
	code, reason, _ := strings.Cut(rest, " ")
	status, err = strconv.Atoi(code)
	if err != nil || len(code) != 3 || status < 100 || status > 599 {
		return 0, 0, fmt.Errorf("%w: no status", ErrBadAnswer)
	}
	if status == 101 || status >= 300 { // 101 would be another protocol
		return 0, 0, refusal(status, reason)
	}
	return status, n + 4, nil
}

// maxReason bounds what is repeated of a proxy's words.
const maxReason = 64

// refusal puts a status into words.
func refusal(status int, reason string) error {
	if status == 407 {
		return fmt.Errorf("%w: 407, it wants other credentials", ErrRefused)
	}
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	return fmt.Errorf("%w: status %d %q", ErrRefused, status, reason)
}
