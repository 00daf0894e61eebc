package paneltest

import (
	"compress/gzip"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// answer is what the panel is about to send.
type answer struct {
	call   Call
	status int
	body   []byte
	etag   string // quoted, or empty
	match  string // If-None-Match of the request
	gzip   bool
	whole  bool // the validator is compared as a whole: SSPanel
	bare   bool // the validator matches without its quotes alone: xiaov2board's version 2
}

// envelope is XBoard's ordinary answer.
type envelope struct {
	Status  string `json:"status"`
	Message string `json:"message"`
	Data    any    `json:"data"`
	Error   any    `json:"error"`
}

// etagOf is the panel's validator: the sha1 of the body, quoted.
func etagOf(body []byte) string {
	sum := sha1.Sum(body)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// send writes a and returns the status. A matching validator gets 304, an empty body and no ETag. The panel looks for the bare
// hash anywhere in If-None-Match.
func (a *answer) send(w http.ResponseWriter) (status int) {
	if a.etag != "" {
		bare := strings.Trim(a.etag, `"`)
		if a.whole && a.match == a.etag {
			w.WriteHeader(http.StatusNotModified)
			return http.StatusNotModified
		}
		if a.bare && a.match == bare {
			w.Header().Set("ETag", a.etag)
			w.WriteHeader(http.StatusNotModified)
			return http.StatusNotModified
		}
		if !a.bare && !a.whole && strings.Contains(a.match, bare) {
			w.WriteHeader(http.StatusNotModified)
			return http.StatusNotModified
		}
		if a.gzip {
			w.Header().Set("ETag", "W/"+a.etag) // nginx weakens what it packs
		} else {
			w.Header().Set("ETag", a.etag)
		}
	}
	if !a.gzip {
		sendJSON(w, a.status, a.body)
		return a.status
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(a.status)
	z := gzip.NewWriter(w)
	z.Write(a.body)
	z.Close()
	return a.status
}

func sendJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body)
}

func html(w http.ResponseWriter, status int, title string) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<html>\r\n<head><title>%[1]s</title></head>\r\n<body>\r\n<center><h1>%[1]s</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n", title)
}

// invalid is Laravel's validation answer.
func invalid(field, text string) *answer {
	return unprocessable(text, map[string][]string{field: {text}})
}

func unprocessable(message string, fields map[string][]string) *answer {
	return &answer{status: http.StatusUnprocessableEntity, body: php(struct {
		Message string              `json:"message"`
		Errors  map[string][]string `json:"errors"`
	}{message, fields})}
}

// failed is XBoard's own failure answer.
func failed(status int, text string) *answer {
	return &answer{status: status, body: php(envelope{Status: "fail", Message: text})}
}

func plain(v any) *answer { return &answer{status: http.StatusOK, body: php(v)} }

// maxBody is PHP's default post_max_size.
const maxBody = 8 << 20

func readBody(r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	return body, err == nil && len(body) <= maxBody
}
