package singmux

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"heki/internal/protocol/wire/wiretest"
)

// lingering is a connection on which nothing can be written, and whose reader takes its time to notice
// the end.
type lingering struct {
	*wiretest.Peeker
	readers atomic.Int32
	served  atomic.Bool
}

func (l *lingering) Peek(n int) ([]byte, error) {
	l.readers.Add(1)
	defer l.readers.Add(-1)
	b, err := l.Peeker.Peek(n)
	if err != nil {
		<-time.After(20 * time.Millisecond)
	}
	if l.served.Load() {
		panic("read after Serve has returned")
	}
	return b, err
}

func (l *lingering) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// The library for HTTP/2 closes the connection when it cannot write, whatever its reader is doing. Nobody
// may read once Serve has returned: what was read ahead is given back then.
func TestNoReaderIsLeft(t *testing.T) {
	forAll(t, func(t *testing.T, h Hello) {
		near, far := tcpPair(t)
		l := &lingering{Peeker: wiretest.NewPeeker(far)}
		hello := AppendHello(nil, h)
		if h.Protocol == ProtocolHTTP2 && !h.Padding {
			hello = append(hello, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"...)
		}
		if _, err := near.Write(hello); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond) // for those who need not write
		defer cancel()
		_ = Serve(ctx, l, Options{Handler: hold, Ahead: ahead})
		if n := l.readers.Load(); n > 0 {
			t.Errorf("%d readers are left", n)
		}
		l.served.Store(true)
	})
}
