package ssr

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/ssr/obfs"
	"heki/internal/protocol/ssr/protocol"
	"heki/internal/protocol/wire"
)

// Identity is what a client sends of itself.
type Identity struct {
	UID      uint32
	Key      []byte // by Port.UserKey; nil is the port's key
	ClientID uint32 // random for each process
	ConnID   uint32 // one more for each connection

	Host    string   // to name in the obfs
	Port    uint16   // of the server, to name in the obfs
	Session [32]byte // TLS session id: random for each process
}

// dial is what a client has to do before its first payload.
type dial struct {
	mu      sync.Mutex
	greeted bool
	ready   bool
	head    []byte // the destination, until it is out
	err     error
}

// Client returns the client's end on conn to dst. Everything of the beginning goes out with the first
// write, after an exchange of its own where the obfs has one. seed is random, pool may be nil. Closing
// it closes conn.
func (p *Port) Client(conn wire.Conn, id Identity, dst M.Socksaddr, now time.Time, seed [32]byte, pool wire.Pool) *Conn {
	if pool == nil {
		pool = new(wire.SingPool)
	}
	random := rand.NewChaCha8(seed)
	c := obfs.Client{Spec: p.obfsSpec, Key: p.key, Host: id.Host, Port: id.Port, ClientID: id.Session, Now: now}
	codec := c.Begin(random)
	iv := make([]byte, p.method.IVSize)
	_, _ = io.ReadFull(random, iv) // never fails
	who := protocol.Identity{
		Head: protocol.Head{UID: id.UID, UTC: uint32(now.Unix()), ClientID: id.ClientID, ConnID: id.ConnID},
		Key:  id.Key,
	}
	if who.Key == nil {
		who.Key = p.key
	}
	enc, dec := p.protocol.Client(protocol.Session{IV: iv, Rand: random}, who)
	client := newConn(conn, pipe{port: p, pool: pool, obfs: codec, decoder: dec})
	client.dial = &dial{head: address.AppendS(nil, dst)}
	client.w = writer{inner: conn, port: p, pool: pool, obfs: codec, encoder: enc, random: &prefixed{iv, random}}
	return client
}

// prefixed is random behind what was drawn of it earlier: the IV, which the auth head has to know.
type prefixed struct {
	first  []byte
	random io.Reader
}

// Read implements io.Reader.
func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.first) > 0 {
		n := copy(b, p.first)
		p.first = p.first[n:]
		return n, nil
	}
	return p.random.Read(b)
}

// begin exchanges greetings, once.
func (d *dial) begin(c *Conn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.beginLocked(c)
}

func (d *dial) beginLocked(c *Conn) error {
	if d.ready || d.err != nil {
		return d.err
	}
	if !d.greeted {
		d.greeted = true
		if b := c.w.obfs.Greeting(); b != nil {
			if _, err := c.Conn.Write(b); err != nil {
				d.err = err
				return err
			}
		}
	}
	for n := 0; !c.w.obfs.Ready(); {
		in, err := c.source.Peek(n + 1)
		if err != nil {
			d.err = fmt.Errorf("answer of the server: %w", err)
			return d.err
		}
		used, err := c.r.feed(in)
		if err != nil {
			d.err = err
			return err
		}
		if n = len(in); used > 0 {
			n = 0
			if _, err := c.source.Discard(used); err != nil {
				return err
			}
		}
	}
	d.ready = true
	return nil
}

// write sends p, behind the destination when it is the first.
func (d *dial) write(c *Conn, p []byte) (int, error) {
	d.mu.Lock()
	if err := d.beginLocked(c); err != nil {
		d.mu.Unlock()
		return 0, err
	}
	head := d.head
	d.head = nil
	if head == nil {
		d.mu.Unlock()
		return c.w.write(p)
	}
	defer d.mu.Unlock() // nobody overtakes the destination
	n, err := c.w.write(append(head, p...))
	return max(n-len(head), 0), err
}
