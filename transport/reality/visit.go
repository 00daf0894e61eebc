package reality

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"heki/constant"
	"heki/internal/netio"
)

// past is a deadline that is over.
var past = time.Unix(1, 0)

// visit is one client and its connection with the target.
type visit struct {
	client, target *netio.Conn
	answered       chan struct{} // closed once the target has sent something, or failed
	failed         error         // what the target failed with, for who has seen answered closed

	mu      sync.Mutex
	decided bool
	cause   error // of an interrupt
}

func newVisit(client, remote net.Conn) *visit {
	return &visit{client: netio.NewConn(client), target: netio.NewConn(remote), answered: make(chan struct{})}
}

// close ends both connections. It may be called more than once and from anywhere.
func (v *visit) close() {
	_ = v.client.Close()
	_ = v.target.Close()
}

// watchTarget interrupts the wait for a verdict when the target speaks or ends: a real server would
// do so there too. What it has sent stays unread.
func (v *visit) watchTarget() {
	go func() {
		defer close(v.answered)
		_, v.failed = v.target.Peek(1)
		v.interrupt(errTargetFirst)
	}()
}

// interrupt ends the wait for what the client sends, unless there is a verdict.
func (v *visit) interrupt(cause error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.decided && v.cause == nil {
		v.cause = cause
		_ = v.client.SetReadDeadline(past)
	}
}

// decide says that there is a verdict. It returns the cause of an interrupt that came before.
func (v *visit) decide() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.decided = true
	return v.cause
}

// relay joins a stranger with the target, which has what the client sent so far, until both are done.
func (v *visit) relay() error {
	defer v.close()
	_ = v.target.SetReadDeadline(past) // ends watchTarget
	<-v.answered
	if netio.IsReset(v.failed) { // the next read would see an ordinary end
		netio.ResetOnClose(v.client)
		return v.failed
	}
	if err := errors.Join(v.target.SetDeadline(time.Time{}), v.client.SetDeadline(time.Time{})); err != nil {
		return err
	}
	if _, err := v.client.Discard(len(v.client.Buffered())); err != nil {
		return err
	}
	r := netio.Relay{Idle: relayIdle, HalfClosed: constant.HalfCloseTimeout, PassReset: true}
	return r.Run(v.client, v.target)
}

// target is what utls takes for a fresh connection with the target, which has got the ClientHello
// already.
type target struct {
	net.Conn
	skip, hello int           // bytes that utls will write, or its ClientHello, and the target has
	heard       chan struct{} // closed once utls has read the ClientHello
	once        sync.Once
}

// Write implements io.Writer. utls holds, while it passes on what the client sends, the lock under
// which it decides what to do with the target's answer.
func (t *target) Write(p []byte) (int, error) {
	n := min(len(p), t.skip)
	t.skip -= n
	if t.hello -= n; t.hello <= 0 {
		t.once.Do(func() { close(t.heard) })
	}
	if n == len(p) {
		return n, nil
	}
	m, err := t.Conn.Write(p[n:])
	return n + m, err
}

// Read implements io.Reader. An answer that comes before utls has the ClientHello would be taken for a
// stranger's.
func (t *target) Read(p []byte) (int, error) {
	<-t.heard
	return t.Conn.Read(p)
}

// Close implements io.Closer.
func (t *target) Close() error {
	t.once.Do(func() { close(t.heard) })
	return t.Conn.Close()
}

// targetKey finds the connection in the context that utls hands to its dialer: a configuration of its
// own for each connection would live as long as that.
type targetKey struct{}

func withTarget(ctx context.Context, t *target) context.Context {
	return context.WithValue(ctx, targetKey{}, t)
}

func targetOf(ctx context.Context) net.Conn {
	t, _ := ctx.Value(targetKey{}).(*target)
	return t
}
