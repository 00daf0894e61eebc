package vmess

import (
	"time"

	"heki/inbound/internal/match"
	"heki/internal/protocol/vmess"
)

// Memory is what the VMess inbounds of a process know together of requests that they have seen. It
// outlives them: an inbound that is replaced must not take a request twice.
type Memory struct {
	// Sources knows who came from which address.
	Sources *match.Sources

	authIDs  *match.Filter // auth ids of AEAD requests
	sessions *match.Filter // body keys of requests
	turns    *match.Turns
}

// Times and bounds of the filters. A filter remembers for its period at least and for twice that at
// most; one that is full forgets earlier.
const (
	// authIDPeriod: an auth id is valid from two minutes before its time to two minutes after it.
	authIDPeriod = 2 * vmess.Window * time.Second
	// sessionPeriod is V2Ray's SessionHistory.
	sessionPeriod = 3 * time.Minute
	// filterSize is what a filter holds in each half: 24 MiB at most, reached at 4300 requests a second.
	filterSize = 1 << 20
)

// sourcesMark begins the file of the sources.
const sourcesMark = "heki vmess sources 1\n"

// NewMemory returns an empty one.
func NewMemory() *Memory {
	return &Memory{
		Sources:  match.NewSources(sourcesMark),
		authIDs:  match.NewFilter(authIDPeriod, filterSize),
		sessions: match.NewFilter(sessionPeriod, filterSize),
		turns:    match.NewTurns(),
	}
}
