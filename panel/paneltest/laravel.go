package paneltest

import (
	"net/http"
	"strings"
)

// laravel is what the panels of the v2board family have of their framework.
type laravel struct{}

func (laravel) stray(w http.ResponseWriter, r *http.Request, verb string) {
	route := strings.TrimPrefix(r.URL.Path, "/")
	if verb == "" {
		sendJSON(w, http.StatusNotFound, php(map[string]string{"message": "The route " + route + " could not be found."}))
		return
	}
	w.Header().Set("Allow", verb)
	sendJSON(w, http.StatusMethodNotAllowed, php(map[string]string{
		"message": "The " + r.Method + " method is not supported for route " + route + ". Supported methods: " + verb + ".",
	}))
}
