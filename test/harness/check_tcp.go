package harness

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// checkTimeout bounds one connection of a check: 8 MiB with the race detector on a machine with twenty other
// things to do.
const checkTimeout = time.Minute

// open dials destination through w, sends the command line and bounds the connection's life.
func open(t testing.TB, w Way, destination, command string) Duplex {
	t.Helper()
	conn, err := tryOpen(w, destination, command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func tryOpen(w Way, destination, command string) (Duplex, error) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	conn, err := w.Dial(ctx, destination)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(checkTimeout))
	_, gentle := w.(Gentle)
	gentle = gentle && command != ""
	if _, late := w.(Late); late && command != "" {
		command = "late " + command
	}
	if gentle {
		command = "ack " + command
	}
	if _, err := io.WriteString(conn, command); err != nil {
		conn.Close()
		return nil, fmt.Errorf("send %q: %w", command, err)
	}
	if gentle {
		if _, err := io.ReadFull(conn, make([]byte, len(ack))); err != nil {
			conn.Close()
			return nil, fmt.Errorf("acknowledgement of %q: %w", command, err)
		}
	}
	return conn, nil
}

// Gentle is a way on which the checks wait for the target's first answer before they send much.
// Xray 26.3.27 needs it with Trojan: it ends a connection whose header and first payload together
// exceed 8192 bytes ("failed to write A request payload > common/buf: buffer is full").
type Gentle struct{ Way }

// Endless is a way on which the checks do not wait for the end that follows the remote side's last byte.
// Xray 26.3.27 needs it with Shadowsocks 2022: it does not tell its client of that end.
type Endless struct{ Way }

// Late is a way on which targets wait a little before their first answer. sing-box 1.14.1 needs it
// with WebSocket early data: what arrives in one read with the answer to its upgrade, it loses
// (v2raywebsocket.Client.upgrade fills a new buffer up to Len, which is 0).
type Late struct{ Way }

// Eager is a way on which the client must speak first, and soon. Xray 26.3.27 needs it with VMess: when
// nothing was said for 100 ms it sends an empty chunk, which is the end of the upload
// (buf.TimeoutWrapperReader returns no error on a timeout, so CopyOnceTimeout writes nothing).
type Eager struct{ Way }

// Hasty is a way whose client throws away what it has not sent yet when it closes: the remote side reads
// the start of it. sing-box 1.14.1 does so over grpc (GRPCConn.Close cancels the call) and http over TLS
// (HTTP2Conn.Close closes the answer's body first); both reset the stream in front of their own queue. With a
// sing-box server the same is lost.
type Hasty struct{ Way }

// Mute is a way whose server does not tell the remote side that we closed, until the connection to it is idle
// for long. Xray 26.3.27 is one with Shadowsocks 2022.
type Mute struct{ Way }

// CheckTCP moves size bytes each way, alone and at once, compares hashes, closes right after the last
// byte, lets the remote side speak first and reaches a destination by name.
func CheckTCP(t testing.TB, w Way, to *Targets, size int64) {
	Part(t, "upload", func(t testing.TB) { checkUpload(t, w, to.TCP, size) })
	Part(t, "download", func(t testing.TB) { checkDownload(t, w, to.TCP, size) })
	Part(t, "duplex", func(t testing.TB) { checkDuplex(t, w, to.TCP, size) })
	Part(t, "close", func(t testing.TB) { checkClose(t, w, to, size) })
	_, late := w.(Late) // who speaks first cannot be told to wait
	if _, eager := w.(Eager); !late && !eager {
		Part(t, "banner", func(t testing.TB) { checkBanner(t, w, to.Banner) })
	}
	Part(t, "domain", func(t testing.TB) { checkUpload(t, w, ByName(to.TCP), 64<<10) })
}

func checkUpload(t testing.TB, w Way, destination string, size int64) {
	seed := rand.Uint64()
	conn := open(t, w, destination, fmt.Sprintf("sink %d\n", size))
	if _, err := io.CopyN(conn, Stream(seed), size); err != nil {
		t.Fatalf("upload: %v", err)
	}
	got, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatalf("answer of the sink: %v", err)
	}
	if want := StreamSum(seed, size); strings.TrimSpace(got) != want {
		Unforgivable(t)
		t.Errorf("sink hashed %s, want %s", strings.TrimSpace(got), want)
	}
}

// checkDownload also proves that nothing is lost when the remote side closes right after its last byte.
func checkDownload(t testing.TB, w Way, destination string, size int64) {
	seed := rand.Uint64()
	conn := open(t, w, destination, fmt.Sprintf("source %d %d\n", size, seed))
	in := io.Reader(conn)
	if _, ok := w.(Endless); ok {
		in = io.LimitReader(conn, size)
	}
	n, got, err := Digest(in)
	if err != nil {
		t.Errorf("download: %v", err)
	}
	if want := StreamSum(seed, size); got != want {
		if n >= size {
			Unforgivable(t)
		}
		t.Errorf("got %d bytes that hash to %s, want %d and %s", n, got, size, want)
	}
}

// checkClose proves that nothing is lost when we close right after our last byte, and that the remote
// side learns of it.
func checkClose(t testing.TB, w Way, to *Targets, size int64) {
	id := rand.Uint64()
	conn := open(t, w, to.TCP, fmt.Sprintf("tail %d\n", id))
	if _, err := io.CopyN(conn, Stream(id), size); err != nil {
		t.Fatalf("send: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if _, mute := w.(Mute); mute {
		return
	}
	_, hasty := w.(Hasty)
	wantResult(t, to, id, size, hasty)
}

// wantResult wants the target of a connection to have read the first size bytes of Stream(id), or the
// first ones of those.
func wantResult(t testing.TB, to *Targets, id uint64, size int64, fewer bool) {
	t.Helper()
	select {
	case got := <-to.Result(id):
		if n := int64(0); fewer {
			fmt.Sscan(got, &n)
			size = min(size, n)
		}
		if want := fmt.Sprintf("%d %s", size, StreamSum(id, size)); got != want {
			t.Errorf("remote side read %q, want %q", got, want)
		}
	case <-time.After(checkTimeout):
		t.Error("remote side never saw our end")
	}
}

func checkDuplex(t testing.TB, w Way, destination string, size int64) {
	conn := open(t, w, destination, "echo\n")
	sent := sha256.New()
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := io.CopyN(io.MultiWriter(conn, sent), Stream(rand.Uint64()), size); err != nil {
			t.Errorf("send: %v", err)
		}
	})
	n, got, err := Digest(io.LimitReader(conn, size))
	wg.Wait()
	if err != nil {
		t.Errorf("receive: %v", err)
	}
	if want := Sum(sent); got != want {
		if n == size && !t.Failed() {
			Unforgivable(t)
		}
		t.Errorf("%d bytes came back and hash to %s, want %d and %s", n, got, size, want)
	}
}

func checkBanner(t testing.TB, w Way, destination string) {
	conn := open(t, w, destination, "")
	got := make([]byte, len(Banner))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != Banner {
		t.Fatalf("banner %q, %v; want %q", got, err, Banner)
	}
	echo(t, conn, "after the banner")
}

// echo sends text and wants it back.
func echo(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatalf("send %q: %v", text, err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("echo of %q: %q, %v", text, got, err)
	}
}

// CheckParallel opens n short connections at once; each sends and gets back a few KiB.
func CheckParallel(t testing.TB, w Way, to *Targets, n int) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := shortConnection(w, to.TCP, i); err != nil {
				if errors.Is(err, errChanged) {
					Unforgivable(t)
				}
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// errChanged is payload that came back as something else.
var errChanged = errors.New("payload has changed")

func shortConnection(w Way, destination string, i int) error {
	conn, err := tryOpen(w, destination, "echo\n")
	if err != nil {
		return err
	}
	defer conn.Close()
	want := make([]byte, 1+i*257)
	io.ReadFull(Stream(uint64(i)), want)
	if _, err := conn.Write(want); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil {
		return fmt.Errorf("%d of %d bytes came back: %w", n, len(want), err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes came back: %w", len(got), errChanged)
	}
	return nil
}

// CheckHalfClose finishes one direction and uses the other.
// up: we finish sending, then the remote side still answers.
// down: the remote side finishes sending, then still receives.
func CheckHalfClose(t testing.TB, w Way, to *Targets) {
	const size = 256 << 10
	Part(t, "up", func(t testing.TB) { checkHalfUp(t, w, to, size) })
	Part(t, "down", func(t testing.TB) { checkHalfDown(t, w, to, size) })
}

func checkHalfUp(t testing.TB, w Way, to *Targets, size int64) {
	seed := rand.Uint64()
	conn := open(t, w, to.TCP, fmt.Sprintf("tail %d\n", seed))
	if _, err := io.CopyN(conn, Stream(seed), size); err != nil {
		t.Fatalf("send: %v", err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if want := fmt.Sprintf("%d %s\n", size, StreamSum(seed, size)); string(got) != want {
		t.Errorf("answer after our end: %q, %v; want %q", got, err, want)
	}
}

func checkHalfDown(t testing.TB, w Way, to *Targets, size int64) {
	seed, id := rand.Uint64(), rand.Uint64()
	conn := open(t, w, to.TCP, fmt.Sprintf("first %d %d %d\n", size, seed, id))
	n, got, err := Digest(conn) // ends only when the remote side's end arrives
	if want := StreamSum(seed, size); err != nil || got != want {
		t.Fatalf("got %d bytes, %v, hash %s; want %d and %s", n, err, got, size, want)
	}
	if _, err := io.CopyN(conn, Stream(id), size); err != nil {
		t.Fatalf("send after the remote side's end: %v", err)
	}
	conn.CloseWrite()
	wantResult(t, to, id, size, false)
}

// CheckRefused proves that a lane with an unknown account reaches nothing.
func CheckRefused(t testing.TB, w Way, to *Targets) {
	conn, err := tryOpen(w, to.TCP, "echo\nhello")
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(3 * time.Second))
	if got, _ := io.ReadAll(conn); bytes.Contains(got, []byte("hello")) {
		Unforgivable(t)
		t.Errorf("an unknown account reached the target: %q", got)
	}
}
