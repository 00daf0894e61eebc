package vmess

import (
	"context"
	"runtime"
	"time"

	"heki/internal/protocol/vmess"
)

// Memory is what the VMess inbounds of a process know together of requests that they have seen. It
// outlives them: an inbound that is replaced must not take a request twice.
type Memory struct {
	// Sources knows who came from which address.
	Sources *Sources

	authIDs  *filter // auth ids of AEAD requests
	sessions *filter // body keys of requests
	turns    chan struct{}
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

// NewMemory returns an empty one.
func NewMemory() *Memory {
	return &Memory{
		Sources:  newSources(),
		authIDs:  newFilter(authIDPeriod, filterSize),
		sessions: newFilter(sessionPeriod, filterSize),
		turns:    make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
}

// turn waits for a turn to scan. Call release after it.
func (m *Memory) turn(ctx context.Context, patience time.Duration) (release func(), err error) {
	select {
	case m.turns <- struct{}{}:
		return m.release, nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case m.turns <- struct{}{}:
		return m.release, nil
	case <-timer.C: // its handshake is over by now
		return nil, errBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *Memory) release() { <-m.turns }
