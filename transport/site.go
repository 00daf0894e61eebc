package transport

import (
	"net/http"
	"strconv"

	"heki/transport/internal/http1"
)

// Site returns a web server without content, for servers of net/http's kind: the same pages that Decoy
// answers with.
func Site() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := http1.Page{Status: http1.NotFoundFor(r.Method), Padding: http1.PaddedFor([]byte(r.UserAgent()))}
		status, body := page.Content()
		h := w.Header()
		h.Set("Server", http1.ServerName)
		h.Set("Content-Type", "text/html")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		_, _ = w.Write(body) // a visitor who is gone needs no page
	})
}
