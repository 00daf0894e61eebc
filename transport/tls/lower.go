package tls

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
)

const (
	typeHandshake = 0x16 // of the first record
	sslv2         = 0x80 // set in the first byte of an SSL 2 hello
	recordHeader  = 5
	// maxRecord is the largest body of a record that crypto/tls accepts: 2^14 + 2048, TLS 1.2.
	maxRecord    = 16<<10 + 2048
	maxPlaintext = 16 << 10
	overhead     = recordHeader + 1 + 16 // of a record of TLS 1.3, whose every cipher has 16 bytes of tag
	// batch is what one system call reads: two full records of TLS 1.3, whose plaintext then fills
	// one relay buffer exactly. A whole record of any version fits behind a part of another one.
	batch = 2 * (recordHeader + 16<<10 + 1 + 16)
	// closeTime bounds how long Close waits for a peer that does not read.
	closeTime = 250 * time.Millisecond
)

// lower is the connection below crypto/tls: it waits for data without a buffer, and bounds the time
// of the last write.
type lower struct {
	net.Conn
	closing atomic.Bool
	parked  bool            // crypto/tls gets nothing by itself: Conn reads for it
	begun   bool            // the first byte was seen
	plain   []byte          // what a client sent that does not speak TLS
	raw     syscall.RawConn // the socket, once nothing stands before it
	fill    func(fd uintptr) bool
	waiter  N.ReadWaiter // when there is no socket
	got     *buf.Buffer
	err     error

	wmu      sync.Mutex
	gathered []byte // records of one Write of Conn, in a pooled buffer
	gather   bool
	last     int   // bytes of plaintext until the end of TLS; 0: there is no end
	werr     error // of a flush: the stream is broken; or ErrLeft
}

// again is what crypto/tls reads when it wants more than the records it was given: after a key update,
// or a part of a message. It takes the error for a timeout, which it forgets, and Conn waits without
// a buffer for the rest.
type again struct{}

func (again) Error() string   { return "no whole record" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

var errAgain error = again{}

// Read is crypto/tls' during the handshake. A first byte that no version of TLS starts with ends it
// before crypto/tls can answer: nginx looks at the same byte, and takes the rest for HTTP.
func (l *lower) Read(p []byte) (int, error) {
	if l.parked {
		return 0, errAgain
	}
	n, err := l.Conn.Read(p)
	if !l.begun && n > 0 {
		l.begun = true
		if p[0] != typeHandshake && p[0]&sslv2 == 0 {
			l.plain = bytes.Clone(p[:n])
			return 0, ErrPlainHTTP
		}
	}
	return n, err
}

// SetWriteDeadline keeps crypto/tls from giving a close_notify 5 s once the connection is closing.
func (l *lower) SetWriteDeadline(t time.Time) error {
	if l.closing.Load() && !t.IsZero() {
		if last := time.Now().Add(closeTime); t.After(last) {
			t = last
		}
	}
	return l.Conn.SetWriteDeadline(t)
}

// wait blocks until there is ciphertext and returns it in a pooled buffer, the caller's to Put.
func (l *lower) wait() (*buf.Buffer, error) {
	if l.raw == nil && !l.findSocket() {
		if l.waiter == nil {
			l.waiter = netio.NewWaiter(l.Conn)
		}
		return l.waiter.WaitReadBuffer()
	}
	l.got, l.err = nil, nil
	if err := l.raw.Read(l.fill); err != nil {
		netio.Put(l.got)
		l.got = nil
		return nil, err
	}
	b := l.got
	l.got = nil
	return b, l.err
}

// findSocket looks through wrappers that are done, each time until it succeeds: what a look-ahead
// has left goes first.
func (l *lower) findSocket() bool {
	tcp, ok := netio.UnwrapReader(l.Conn).(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	l.raw, l.fill = raw, l.readSocket
	return true
}

// readSocket is the poller's callback: at EAGAIN the buffer goes back to the pool.
func (l *lower) readSocket(fd uintptr) bool {
	b := netio.Get()
	b.Reset() // from the start: batch is longer than a payload
	for {
		n, err := syscall.Read(int(fd), b.FreeBytes()[:batch])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			netio.Put(b)
			return false
		case err != nil:
			l.err = &net.OpError{Op: "read", Net: "tcp", Err: err}
		case n == 0:
			l.err = io.EOF
		default:
			b.Truncate(n)
			l.got = b
			return true
		}
		netio.Put(b)
		return true
	}
}

// Write implements io.Writer. While gathering it only notes a record, as long as it fits.
func (l *lower) Write(p []byte) (int, error) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if l.werr != nil {
		return 0, l.werr
	}
	if l.last > 0 {
		if l.last -= len(p) - overhead; l.last <= 0 {
			l.werr = ErrLeft
		}
		return l.Conn.Write(p)
	}
	if !l.gather {
		return l.Conn.Write(p)
	}
	if len(l.gathered)+len(p) > cap(l.gathered) {
		if err := l.flushLocked(); err != nil {
			return 0, err
		}
		if len(p) > cap(l.gathered) {
			return l.Conn.Write(p)
		}
	}
	l.gathered = append(l.gathered, p...)
	return len(p), nil
}

func (l *lower) flushLocked() error {
	if len(l.gathered) == 0 {
		return nil
	}
	_, l.werr = l.Conn.Write(l.gathered)
	l.gathered = l.gathered[:0]
	return l.werr
}

// gatherIn makes Write collect records in space.
func (l *lower) gatherIn(space []byte) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	l.gathered, l.gather = space[:0], true
}

// flush sends the collected records and ends gatherIn.
func (l *lower) flush() error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	err := l.flushLocked()
	l.gathered, l.gather = nil, false
	return err
}
