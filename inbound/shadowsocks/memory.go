package shadowsocks

import (
	"sync"
	"time"

	"heki/inbound/internal/match"
)

// Memory is what the Shadowsocks inbounds of a process know together of what they have seen. It
// outlives them: an inbound that is replaced must not take a request twice.
type Memory struct {
	// Sources knows who came from which address.
	Sources *match.Sources

	salts   *match.Filter      // of AEAD streams, and our own
	fresh   *match.Filter      // salts of streams of 2022
	packets func() *match.Seen // salts and headers of datagrams; 8 MiB once there are any
	turns   *match.Turns
}

// sourcesMark begins the file of the sources.
const sourcesMark = "heki shadowsocks sources 1\n"

const (
	// saltPeriod is how long the salt of an AEAD stream is remembered at least: it never gets too old.
	saltPeriod = 12 * time.Hour
	// freshPeriod: a request is valid from 30 s before its time to 30 s after it. Source: SIP022 §3.1.5.
	freshPeriod = 60 * time.Second
	// filterSize is what a filter holds in each half: 24 MiB at most.
	filterSize = 1 << 20
	// packetBits: the last million datagrams.
	packetBits = 20
)

// NewMemory returns an empty one.
func NewMemory() *Memory {
	return &Memory{
		Sources: match.NewSources(sourcesMark),
		salts:   match.NewFilter(saltPeriod, filterSize),
		fresh:   match.NewFilter(freshPeriod, filterSize),
		packets: sync.OnceValue(func() *match.Seen { return match.NewSeen(packetBits) }),
		turns:   match.NewTurns(),
	}
}
