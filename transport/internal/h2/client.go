package h2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"heki/constant"
	"heki/transport/internal/web"
)

// Client opens streams on connections that it makes and shares. Its methods are safe for concurrent
// use.
type Client struct {
	o ClientOptions

	mu     sync.Mutex
	conns  []*conn
	dial   *dialing // under way; nil: none
	closed bool
	wg     sync.WaitGroup
}

// ClientOptions say how a Client works.
type ClientOptions struct {
	// Dial makes one connection, TLS included.
	Dial func(ctx context.Context) (net.Conn, error)
	// Ping is the silence after which a peer is asked whether it lives; 0: never. Pong is the time
	// that it has, 15 s by default. Without streams it is asked only if Always.
	Ping, Pong time.Duration
	Always     bool
}

const defaultPong = 15 * time.Second

// dialing is one connection in the making.
type dialing struct {
	done   chan struct{}
	err    error
	cancel context.CancelFunc
}

// NewClient returns a client; close it in the end.
func NewClient(o ClientOptions) *Client {
	if o.Pong <= 0 {
		o.Pong = defaultPong
	}
	return &Client{o: o}
}

// Open sends a request, whose header block is head, and returns its stream without waiting for the
// answer. expect judges the head of that, and then the trailers if there are any; its error is what
// reading ends with. ctx bounds the time until there is a connection.
func (k *Client) Open(ctx context.Context, head []byte, expect func(m *Message, trailers bool) error) (*Stream, error) {
	for {
		c, wait, err := k.pick(ctx)
		if err != nil {
			return nil, err
		}
		if c != nil {
			if s := c.open(head, expect); s != nil {
				return s, nil
			}
			continue // it has become unusable meanwhile
		}
		select {
		case <-wait.done:
			if wait.err != nil {
				return nil, wait.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// pick returns a connection with room for a stream, or the one to wait for.
func (k *Client) pick(ctx context.Context) (*conn, *dialing, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, nil, net.ErrClosed
	}
	for _, c := range k.conns {
		if c.usable() {
			return c, nil, nil
		}
	}
	if k.dial == nil {
		// Others may wait for it too, so it must not end with this caller.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), constant.HandshakeTimeout)
		d := &dialing{done: make(chan struct{}), cancel: cancel}
		k.dial = d
		k.wg.Go(func() { k.connect(ctx, d) })
	}
	return nil, k.dial, nil
}

// connect makes a connection, and reads it until its end.
func (k *Client) connect(ctx context.Context, d *dialing) {
	defer d.cancel()
	c, err := k.start(ctx)
	k.mu.Lock()
	d.err = err
	k.dial = nil
	close(d.done)
	if err == nil && k.closed {
		_ = c.sock.Close()
	}
	if err == nil {
		k.conns = append(k.conns, c)
	}
	k.mu.Unlock()
	if err != nil {
		return
	}
	stop := k.watch(c)
	greeted := time.AfterFunc(constant.HandshakeTimeout, c.expectSettings)
	_ = c.run() // its streams say why
	greeted.Stop()
	stop()
	k.mu.Lock()
	k.conns = slices.DeleteFunc(k.conns, func(other *conn) bool { return other == c })
	k.mu.Unlock()
	c.wg.Wait()
}

func (k *Client) start(ctx context.Context) (*conn, error) {
	sock, err := k.o.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c := newConn(sock, true, clientIdle)
	c.onHead = c.answer
	err = web.Within(ctx, sock, func() error {
		_, err := sock.Write(c.hello(nil))
		return err
	})
	if err != nil {
		_ = sock.Close()
		return nil, fmt.Errorf("http/2 hello: %w", err)
	}
	c.restLocked() // nobody else has it yet
	return c, nil
}

// watch asks a silent peer whether it lives, until stop.
func (k *Client) watch(c *conn) (stop func()) {
	if k.o.Ping <= 0 {
		return func() {}
	}
	var (
		mu    sync.Mutex
		timer *time.Timer
		over  bool
		seen  uint32
		asked bool
	)
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(k.o.Ping, func() {
		mu.Lock()
		defer mu.Unlock()
		now := c.frames.Load()
		switch {
		case over:
			return
		case now != seen:
			seen, asked = now, false
			timer.Reset(k.o.Ping)
		case asked:
			c.give(errors.New("no answer to a ping"))
		case k.o.Always || c.busy():
			asked = true
			c.queue(append(appendHeader(nil, 8, framePing, 0, 0), "are you?"...))
			c.flushSoon()
			timer.Reset(k.o.Pong)
		default:
			timer.Reset(k.o.Ping)
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
		timer.Stop()
	}
}

// Close ends all connections and waits.
func (k *Client) Close() error {
	k.mu.Lock()
	k.closed = true
	if k.dial != nil {
		k.dial.cancel()
	}
	for _, c := range k.conns {
		c.give(net.ErrClosed)
	}
	k.mu.Unlock()
	k.wg.Wait()
	return nil
}

// expectSettings ends a connection whose peer has not greeted by now, RFC 9113 §3.4: streams would go on into
// it, and nobody tell them.
func (c *conn) expectSettings() {
	c.mu.Lock()
	ready := c.ready
	c.mu.Unlock()
	if !ready {
		c.give(errors.New("the server does not greet"))
	}
}

// give ends the connection for a reason of ours.
func (c *conn) give(err error) {
	c.cmu.Lock()
	if c.cause == nil {
		c.cause = err
	}
	c.cmu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.going, c.leaving = true, true
	_ = c.sock.SetReadDeadline(time.Unix(1, 0)) // the reader says goodbye
}

func (c *conn) usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usableLocked()
}

func (c *conn) usableLocked() bool {
	return c.err == nil && !c.going && uint32(len(c.streams)) < c.peerStreams && c.next < windowMax-2
}

func (c *conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams) > 0
}

// open sends a request, or returns nil when the connection takes no more.
func (c *conn) open(head []byte, expect func(m *Message, trailers bool) error) *Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.usableLocked() {
		return nil
	}
	s := newStream(c, c.next)
	s.expect, s.sendWindow = expect, int64(c.peerWindow)
	if c.next == 1 {
		head = append([]byte{noTable}, head...)
	}
	c.next += 2
	c.streams[s.id] = s
	c.restLocked()
	c.queue(appendHeaders(nil, s.id, 0, head)) // in the order of ids
	c.flushSoon()
	return s
}

// answer takes a header block of a server.
func (c *conn) answer(id uint32, m *Message) error {
	s, err := c.expectOpen(id)
	if err != nil || s == nil {
		return err
	}
	s.rmu.Lock()
	first, expect := !s.answered, s.expect
	final := !first || m.Status >= 200 // 1xx: another one follows
	s.answered = s.answered || final
	s.rmu.Unlock()
	switch {
	case first && (m.Status == 0 || m.broken || m.tooLong):
		s.resetByUs(codeProtocol)
		return nil
	case !final:
		return nil
	}
	err = expect(m, !first)
	if err != nil && !m.End {
		s.finishRead(err)
		s.resetByUs(codeCancel)
	} else if m.End {
		s.finishRead(err)
	}
	return nil
}
