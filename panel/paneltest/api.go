package paneltest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// dialect is how one panel speaks.
type dialect interface {
	// call names what path asks for and the methods it takes, any when empty; false: there is no such path.
	call(p *Panel, path string) (name Call, verb string, ok bool)
	// stray answers a path that is not there, or one that takes other methods: verb.
	stray(w http.ResponseWriter, r *http.Request, verb string)
	// serve acts on the call. It is called without p's lock.
	serve(p *Panel, call Call, r *http.Request, body []byte, fault string) *answer
}

// ServeHTTP implements http.Handler.
func (p *Panel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	if p.pushAt != "" && r.URL.Path == pushPath {
		p.mu.Unlock()
		p.push(w, r)
		return
	}
	call, verb, known := p.dialect.call(p, r.URL.Path)
	var fault Fault
	faulty := false
	if known {
		p.requests[call]++
		fault, faulty = p.nextFaultLocked(call)
	}
	gzip := p.gzip && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
	p.mu.Unlock()

	switch {
	case !known:
		p.dialect.stray(w, r, "")
		return
	case !strings.Contains(verb, r.Method) && verb != "":
		p.dialect.stray(w, r, verb)
		return
	}
	body, whole := readBody(r)
	if !whole { // cut on the way, or beyond post_max_size
		sendJSON(w, http.StatusRequestEntityTooLarge, php(map[string]string{"message": "The POST data is too large."}))
		return
	}
	var a *answer
	if !faulty || fault.apply {
		a = p.dialect.serve(p, call, r, body, fault.name)
		a.call, a.match, a.gzip = call, r.Header.Get("If-None-Match"), gzip
	}
	if faulty {
		fault.do(p, w, r, a)
		return
	}
	if a.send(w) == http.StatusNotModified {
		p.mu.Lock()
		p.fresh[call]++
		p.mu.Unlock()
	}
}

type userRow struct {
	ID          int    `json:"id"`
	UUID        string `json:"uuid"`
	SpeedLimit  *int   `json:"speed_limit"`
	DeviceLimit *int   `json:"device_limit"`
}

// usersLocked answers user and counts as the node's sign of life, also when it ends in 304.
func (p *Panel) usersLocked(n *node) *answer {
	n.checked = p.now()
	if n.gen != p.usersGen {
		rows := make([]userRow, 0, len(p.users))
		for _, id := range slices.Sorted(maps.Keys(p.users)) {
			u := p.users[id]
			if len(u.Nodes) > 0 && !slices.Contains(u.Nodes, n.row.ID) {
				continue
			}
			rows = append(rows, userRow{u.ID, u.UUID, null(u.SpeedMbps), null(u.DeviceLimit)})
		}
		n.body, n.gen = php(map[string]any{"users": rows}), p.usersGen
	}
	return &answer{status: http.StatusOK, body: n.body, etag: etagOf(n.body)}
}

func null(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}
