package panel

import (
	"net"
	"net/http"
	"time"
)

const (
	maxConnsPerHost = 8               // a panel is not to be flooded by the nodes of one process
	keepIdle        = 3 * time.Second // for the calls of one sync: one that the panel closed meanwhile would make a report ambiguous
)

// newTransport carries the calls to one panel, over at most conns connections (0 is no limit). It speaks
// HTTP/1.1 and no other version, because of what
// net/http does on its own when a call fails. Over HTTP/1.1 it repeats a POST only if not one byte of it
// was written. Over HTTP/2 it repeats any request that is reset with PROTOCOL_ERROR, also when all of it
// was sent, each time on a new connection and without a pause until the context ends (go.dev/issue/47635,
// seen with go1.26). A proxy that resets because it dislikes the answer of the panel behind it would have
// one report billed hundreds of times, and nobody would be told. Besides, one lost connection would leave
// the reports of all nodes on it open, not of one.
func newTransport(conns int) *http.Transport {
	versions := new(http.Protocols)
	versions.SetHTTP1(true)
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		Protocols:           versions,
		MaxConnsPerHost:     conns,
		MaxIdleConnsPerHost: maxConnsPerHost,
		IdleConnTimeout:     keepIdle,
	}
}
