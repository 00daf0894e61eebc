package match

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// ErrBusy is returned to those who waited too long for a turn.
var ErrBusy = errors.New("too many clients wait to be looked up")

// Turns let only so many search all users at once, in the order in which they came: those who are
// nobody, each of whom costs a whole search, leave cores to those who are somebody.
type Turns chan struct{}

// NewTurns returns turns for half of the cores.
func NewTurns() Turns { return make(Turns, max(1, runtime.GOMAXPROCS(0)/2)) }

// Take waits for a turn, for as long as patience. Give it back with Done.
func (t Turns) Take(ctx context.Context, patience time.Duration) error {
	select {
	case t <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case t <- struct{}{}:
		return nil
	case <-timer.C: // its handshake is over by now
		return ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done ends a turn.
func (t Turns) Done() { <-t }
