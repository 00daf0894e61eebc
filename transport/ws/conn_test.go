package ws

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/netio"
	"heki/transport/internal/web"
)

func readAll(c *Conn, wait bool) ([]byte, error) {
	var all []byte
	p := make([]byte, 10<<10)
	for {
		if !wait {
			n, err := c.Read(p[:1+rand.IntN(len(p))])
			all = append(all, p[:n]...)
			if err != nil {
				return all, err
			}
			continue
		}
		b, err := c.WaitReadBuffer()
		if err != nil {
			return all, err
		}
		all = append(all, b.Bytes()...)
		netio.Put(b)
	}
}

func TestTransfer(t *testing.T) {
	data := make([]byte, 4<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	for _, wait := range []bool{false, true} {
		client, c := pipe(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			for rest := data; len(rest) > 0; {
				var batch []byte
				for range 1 + rand.IntN(5) {
					n := min(len(rest), rand.IntN(1+rand.IntN(70<<10)))
					batch = clientFrame(batch, 0x82, [4]byte{9, 8, 7, byte(n)}, rest[:n])
					rest = rest[n:]
				}
				if _, err := client.Write(batch); err != nil {
					t.Error(err)
				}
			}
			_, _ = client.Write(frame(0x88, "\x03\xe8"))
		})
		got, err := readAll(c, wait)
		if err != io.EOF || !bytes.Equal(got, data) {
			t.Fatalf("wait %v: %d bytes, %v", wait, len(got), err)
		}
		wg.Wait()
		b0, payload, err := readFrame(client)
		if b0 != 0x88 || string(payload) != "\x03\xe8" || err != nil {
			t.Errorf("answer to the Close: %x %x %v", b0, payload, err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after the Close: %v", err)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read after the Close: %v", err)
		}
	}
}

func TestWrite(t *testing.T) {
	client, c := pipe(t)
	long := bytes.Repeat([]byte("0123456789"), 10_000)
	go func() {
		_, _ = c.Write([]byte("short"))
		_, _ = c.Write(nil)
		_, _ = c.Write(long)
		b := netio.Get()
		_, _ = b.Write([]byte("buffer"))
		_ = c.WriteBuffer(netio.Filled(b))
		netio.Put(b)
		_ = c.WriteBuffer(buf.As([]byte("no room")))
		_ = c.WriteBuffer(buf.NewSize(0))
		_ = c.Close()
	}()
	var frames []string
	for {
		b0, payload, err := readFrame(client)
		if b0 == 0x88 {
			break
		}
		if b0 != 0x82 || err != nil {
			t.Fatalf("%x, %v", b0, err)
		}
		frames = append(frames, string(payload))
	}
	all := strings.Join(frames, "|")
	want := "short|" + string(long[:32768]) + "|" + string(long[32768:65536]) + "|" + string(long[65536:98304]) +
		"|" + string(long[98304:]) + "|buffer|no room"
	if all != want {
		t.Errorf("%d frames", len(frames))
	}
}

func TestProtocolError(t *testing.T) {
	client, c := pipe(t)
	_, _ = client.Write(append(frame(0x82, "data"), "\x82\x01a"...))
	got, err := readAll(c, true)
	if string(got) != "data" || !errors.Is(err, ErrProtocol) {
		t.Errorf("%q, %v", got, err)
	}
	if b0, payload, err := readFrame(client); b0 != 0x88 || string(payload) != "\x03\xea" {
		t.Errorf("%x %x %v", b0, payload, err)
	}
}

func TestCutOff(t *testing.T) {
	for _, tt := range []struct {
		in  string
		err error
	}{
		{string(frame(0x82, "data")), io.EOF},
		{string(frame(0x82, "data")[:7]), io.ErrUnexpectedEOF},
		{string(frame(0x82, "data")[:1]), io.ErrUnexpectedEOF},
		{"", io.EOF},
	} {
		for _, wait := range []bool{false, true} {
			client, c := pipe(t)
			_, _ = client.Write([]byte(tt.in))
			_ = client.Close()
			if _, err := readAll(c, wait); err != tt.err {
				t.Errorf("%q: %v", tt.in, err)
			}
		}
	}
}

func TestDeadline(t *testing.T) {
	client, c := pipe(t)
	_, _ = client.Write(frame(0x82, "data")[:3])
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := c.WaitReadBuffer(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("err = %v", err)
	}
	_ = c.SetReadDeadline(time.Time{})
	_, _ = client.Write(frame(0x82, "data")[3:])
	_ = client.Close()
	if got, err := readAll(c, true); string(got) != "data" || err != io.EOF {
		t.Errorf("%q, %v", got, err)
	}
}

func TestPing(t *testing.T) {
	client, c := pipe(t)
	go func() { _, _ = readAll(c, true) }()
	for _, payload := range []string{"", "one", strings.Repeat("x", 125)} {
		_, _ = client.Write(frame(0x89, payload))
		if b0, got, err := readFrame(client); b0 != 0x8a || string(got) != payload {
			t.Errorf("%x %q %v", b0, got, err)
		}
	}
}

// While a write hangs pings and Closes do not block the reader, and the last ping is answered
// afterwards.
func TestAnswersWait(t *testing.T) {
	client, c := pipe(t)
	_ = c.Conn.(*net.TCPConn).SetWriteBuffer(4 << 10)
	written := make(chan error)
	go func() {
		_, err := c.Write(make([]byte, 16<<20))
		written <- err
	}()
	for c.wmu.TryLock() { // until the writer has it for good
		c.wmu.Unlock()
		runtime.Gosched()
	}
	_, _ = client.Write(append(append(frame(0x89, "1"), frame(0x89, "2")...), frame(0x82, "data")...))
	b, err := c.WaitReadBuffer()
	if err != nil || string(b.Bytes()) != "data" {
		t.Fatalf("reader: %v", err)
	}
	netio.Put(b)
	_, _ = client.Write(frame(0x88, "\x03\xe8"))
	if _, err := c.WaitReadBuffer(); err != io.EOF {
		t.Fatalf("reader: %v", err)
	}
	var last []string
	for {
		b0, payload, err := readFrame(client)
		if err != nil {
			t.Fatal(err)
		}
		if b0 != 0x82 {
			last = append(last, string(rune(b0&15))+string(payload))
		}
		if b0 == 0x88 {
			break
		}
	}
	if got := strings.Join(last, "|"); !strings.HasSuffix(got, "2|\x08\x03\xe8") {
		t.Errorf("answers = %q", got)
	}
	if err := <-written; !errors.Is(err, net.ErrClosed) {
		t.Errorf("writer: %v", err)
	}
}

func TestPingFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := newConn(b, nil)
		go func() { _, _ = readAll(c, true) }()
		var pongs int
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				if b0, _, err := readFrame(a); err != nil {
					return
				} else if b0 == 0x8a {
					pongs++
				}
			}
		}()
		for range 10_000 {
			if _, err := a.Write(frame(0x89, "x")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if pongs != pingBurst {
			t.Errorf("%d pongs", pongs)
		}
		time.Sleep(time.Minute)
		_, _ = a.Write(frame(0x89, "x"))
		synctest.Wait()
		if pongs != pingBurst+1 {
			t.Errorf("later: %d pongs", pongs)
		}
		_ = c.Close()
		<-done
	})
}

// CloseWrite waits while the client sends, says Close once that is quiet, and reading goes on after
// the client's answer.
func TestCloseWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := newConn(b, nil)
		var got bytes.Buffer
		ended := make(chan error)
		go func() {
			all, err := readAll(c, true)
			got.Write(all)
			ended <- err
		}()
		closed := make(chan time.Time, 1)
		go func() {
			b0, payload, err := readFrame(a)
			if b0 != 0x88 || string(payload) != "\x03\xe8" || err != nil {
				t.Errorf("%x %x %v", b0, payload, err)
			}
			closed <- time.Now()
		}()
		start := time.Now()
		_ = c.CloseWrite()
		_ = c.CloseWrite()
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write: %v", err)
		}
		for range 10 {
			_, _ = a.Write(frame(0x82, "x"))
			time.Sleep(100 * time.Millisecond)
		}
		if d := (<-closed).Sub(start); d < time.Second || d > time.Second+2*web.FarewellDelay {
			t.Errorf("Close after %s", d)
		}
		_, _ = a.Write(frame(0x88, "\x03\xe8"))
		_, _ = a.Write(frame(0x82, "y"))
		_ = a.Close()
		if err := <-ended; err != io.EOF || got.String() != "xxxxxxxxxxy" {
			t.Errorf("%q, %v", got.String(), err)
		}
		_ = c.Close()
	})
}

// A client that never falls silent hears of the end all the same.
func TestCloseWriteIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := newConn(b, nil)
		go func() { _, _ = readAll(c, true) }()
		closed := make(chan struct{})
		go func() {
			_, _, _ = readFrame(a)
			close(closed)
		}()
		start := time.Now()
		_ = c.CloseWrite()
		for open := true; open; {
			_, _ = a.Write(frame(0x82, "x"))
			time.Sleep(100 * time.Millisecond)
			select {
			case <-closed:
				open = false
			default:
			}
		}
		if d := time.Since(start); d > web.FarewellTime+2*web.FarewellDelay {
			t.Errorf("Close after %s", d)
		}
		_ = c.Close()
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestCloseIsQuick(t *testing.T) {
	_, c := pipe(t)
	_ = c.Conn.(*net.TCPConn).SetWriteBuffer(4 << 10)
	_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	_, _ = c.Write(make([]byte, 16<<20))
	_ = c.SetWriteDeadline(time.Time{})
	start := time.Now()
	_ = c.Close()
	if d := time.Since(start); d > closeTime+30*time.Second {
		t.Errorf("took %s", d)
	}
}

func TestAllocs(t *testing.T) {
	client, c := pipe(t)
	var in []byte
	for range 4 {
		in = clientFrame(in, 0x82, [4]byte{1, 2, 3, 4}, make([]byte, 8000))
	}
	go func() { _, _ = io.Copy(io.Discard, client) }()
	moved := func() {
		_, _ = client.Write(in)
		for n := 0; n < 32_000; {
			b, err := c.WaitReadBuffer()
			if err != nil {
				t.Fatal(err)
			}
			n += b.Len()
			if err := c.WriteBuffer(b); err != nil {
				t.Fatal(err)
			}
			netio.Put(b)
		}
	}
	for range 100 {
		moved()
	}
	if raceEnabled {
		return // the detector allocates
	}
	if n := testing.AllocsPerRun(200, moved); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}
