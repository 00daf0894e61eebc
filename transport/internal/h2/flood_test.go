package h2

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"heki/transport/internal/transporttest"
)

// raw is a client that writes frames by hand.
type raw struct {
	net.Conn
	framer *http2.Framer
	result chan error
}

func dialRaw(t testing.TB, handle func(context.Context, *Stream, *Message)) *raw {
	t.Helper()
	client, server := transporttest.Pair(t)
	_ = server.SetDeadline(time.Now().Add(time.Minute))
	_ = client.SetDeadline(time.Now().Add(time.Minute))
	r := &raw{Conn: client, framer: http2.NewFramer(client, client), result: serve(t, tunnel(), server, handle)}
	_, _ = client.Write(appendSettings([]byte(Preface)))
	return r
}

// goAway reads until the connection ends and returns the code of GOAWAY, -1 if none came.
func (r *raw) goAway() int {
	defer func() { _ = r.Close() }()
	code := -1
	for {
		f, err := r.framer.ReadFrame()
		if err != nil {
			return code
		}
		if f, ok := f.(*http2.GoAwayFrame); ok {
			code = int(f.ErrCode)
		}
	}
}

// until reads frames until one is of type T.
func until[T http2.Frame](t testing.TB, r *raw) T {
	t.Helper()
	for {
		f, err := r.framer.ReadFrame()
		if err != nil {
			t.Fatalf("waiting for a frame: %v", err)
		}
		if f, ok := f.(T); ok {
			return f
		}
	}
}

// hold waits for the first bytes, as protocols do.
func hold(_ context.Context, s *Stream, _ *Message) {
	_, _ = s.Read(make([]byte, 1))
	_ = s.Close()
}

func open(b []byte, id uint32) []byte { return appendHeaders(b, id, 0, put()) }

func frame(typ, flags byte, id uint32, payload string) string {
	return string(appendHeader(nil, len(payload), typ, flags, id)) + payload
}

// What breaks the protocol ends the connection with the right code.
func TestBadFrames(t *testing.T) {
	word := func(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }
	stream := string(open(nil, 1))
	for _, tt := range []struct {
		name, in string
		code     Code
	}{
		{"frame too long", frame(frameData, 0, 1, "")[:0] + "\x00\x40\x01\x00\x00\x00\x00\x00\x01", codeFrameSize},
		{"DATA without a stream", frame(frameData, 0, 0, "x"), codeProtocol},
		{"DATA on an idle stream", frame(frameData, 0, 1, "x"), codeProtocol},
		{"HEADERS without a stream", frame(frameHeaders, flagHeaders, 0, ""), codeProtocol},
		{"HEADERS on our stream", string(open(nil, 2)), codeProtocol},
		{"interrupted block", frame(frameHeaders, 0, 1, "") + frame(framePing, 0, 0, "12345678"), codeProtocol},
		{"interrupted by another", frame(frameHeaders, 0, 1, "") + frame(frameContinuation, flagHeaders, 3, ""), codeProtocol},
		{"CONTINUATION alone", frame(frameContinuation, flagHeaders, 1, ""), codeProtocol},
		{"padding", stream + frame(frameData, flagPadded, 1, "\x05abc"), codeProtocol},
		{"no padding", stream + frame(frameData, flagPadded, 1, ""), codeFrameSize},
		{"padding of HEADERS", frame(frameHeaders, flagHeaders|flagPadded, 1, "\x09\x88"), codeProtocol},
		{"no priority", frame(frameHeaders, flagHeaders|flagPriority, 1, "\x88"), codeFrameSize},
		{"PRIORITY", frame(framePriority, 0, 1, "1234"), codeFrameSize},
		{"RST_STREAM of nothing", frame(frameReset, 0, 0, "1234"), codeProtocol},
		{"RST_STREAM of an idle stream", frame(frameReset, 0, 7, "1234"), codeProtocol},
		{"SETTINGS of a stream", frame(frameSettings, 0, 1, ""), codeFrameSize},
		{"part of a setting", frame(frameSettings, 0, 0, "12345"), codeFrameSize},
		{"too many settings", frame(frameSettings, 0, 0, strings.Repeat("\x00\x00\x00\x00\x00\x00", maxSettings+1)), codeFrameSize},
		{"window setting", frame(frameSettings, 0, 0, "\x00\x04\x80\x00\x00\x00"), codeFlowControl},
		{"window setting with a stream", stream + frame(frameWindow, 0, 1, word(windowMax-windowDefault)) + frame(frameSettings, 0, 0, "\x00\x04\x00\x01\x00\x00"), codeFlowControl},
		{"frame setting", frame(frameSettings, 0, 0, "\x00\x05\x00\x00\x00\x00"), codeProtocol},
		{"PUSH_PROMISE", frame(framePush, flagHeaders, 1, "1234"), codeProtocol},
		{"PING", frame(framePing, 0, 0, "1234567"), codeFrameSize},
		{"PING of a stream", frame(framePing, 0, 1, "12345678"), codeProtocol},
		{"GOAWAY", frame(frameGoAway, 0, 0, "1234"), codeProtocol},
		{"window", frame(frameWindow, 0, 0, word(windowMax)), codeFlowControl},
		{"empty window", frame(frameWindow, 0, 0, word(0)), codeFlowControl},
		{"header block", frame(frameHeaders, flagHeaders, 1, "\xff\xff\xff\xff\xff\xff"), codeCompression},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := dialRaw(t, hold)
			_, _ = io.WriteString(r, tt.in)
			if code := r.goAway(); code != int(tt.code) {
				t.Errorf("code = %d, want %d", code, tt.code)
			}
			if err := <-r.result; !errors.Is(err, ErrProtocol) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

// What only one stream is to blame for ends that.
func TestBadStreams(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		code     Code
	}{
		{"window", frame(frameWindow, 0, 1, "\x7f\xff\xff\xff"), codeFlowControl},
		{"empty window", frame(frameWindow, 0, 1, "\x00\x00\x00\x00"), codeFlowControl},
		{"head again", string(open(nil, 1)), codeProtocol},
	} {
		r := dialRaw(t, hold)
		_, _ = r.Write(append(open(nil, 1), tt.in...))
		if f := until[*http2.RSTStreamFrame](t, r); f.StreamID != 1 || Code(f.ErrCode) != tt.code {
			t.Errorf("%s: %v", tt.name, f)
		}
		_, _ = io.WriteString(r, frame(framePing, 0, 0, "12345678"))
		until[*http2.PingFrame](t, r)
		_ = r.Close()
		<-r.result
	}
}

// Floods end the connection soon, and with few handlers.
func TestFloods(t *testing.T) {
	for _, tt := range []struct {
		name  string
		write func(b []byte, i int) []byte
	}{
		{"rapid reset", func(b []byte, i int) []byte {
			return appendWord(open(b, uint32(2*i+1)), frameReset, uint32(2*i+1), uint32(codeCancel))
		}},
		{"made to reset", func(b []byte, i int) []byte { // CVE-2025-8671
			return appendWord(open(b, uint32(2*i+1)), frameWindow, uint32(2*i+1), 0)
		}},
		{"settings", func(b []byte, _ int) []byte { return appendSettings(b, setting{settingWindow, 1 << 20}) }},
		{"ping", func(b []byte, _ int) []byte { return append(b, frame(framePing, 0, 0, "12345678")...) }},
		{"priority", func(b []byte, _ int) []byte { return append(b, frame(framePriority, 0, 1, "12345")...) }},
		{"window", func(b []byte, _ int) []byte { return appendWord(b, frameWindow, 0, 1) }},
		{"unknown", func(b []byte, _ int) []byte { return append(b, frame(0xbe, 0, 0, strings.Repeat("x", 1000))...) }},
		{"empty data", func(b []byte, i int) []byte {
			if i == 0 {
				b = open(b, 1)
			}
			return append(b, frame(frameData, 0, 1, "")...)
		}},
		{"refused", func(b []byte, i int) []byte { return open(b, uint32(2*i+1)) }},
		{"pages", func(b []byte, i int) []byte {
			return appendHeaders(b, uint32(2*i+1), flagEnd, AppendRequest(nil, "GET", "https", "a", "/"))
		}},
		{"continuation", func(b []byte, i int) []byte {
			if i == 0 {
				return append(b, frame(frameHeaders, 0, 1, "")...)
			}
			return append(b, frame(frameContinuation, 0, 1, "")...)
		}},
		{"long block", func(b []byte, i int) []byte {
			if i == 0 {
				return append(b, frame(frameHeaders, 0, 1, "")...)
			}
			return append(b, frame(frameContinuation, 0, 1, strings.Repeat("x", 4000))...)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var running, most atomic.Int32
			r := dialRaw(t, func(ctx context.Context, s *Stream, m *Message) {
				most.Store(max(most.Load(), running.Add(1)))
				hold(ctx, s, m)
				running.Add(-1)
			})
			go func() {
				for i := range 100_000 {
					if _, err := r.Write(tt.write(nil, i)); err != nil {
						return
					}
				}
			}()
			_ = r.goAway() // it may be lost in a reset
			if err := <-r.result; err == nil || strings.Contains(err.Error(), "timeout") {
				t.Errorf("err = %v", err)
			}
			if n := most.Load(); n > maxStreams {
				t.Errorf("%d handlers", n)
			}
		})
	}
}

// A peer that floods and does not read what it gets cannot make us keep it.
func TestUnreadAnswers(t *testing.T) {
	r := dialRaw(t, hold)
	var b []byte
	for range 100 {
		b = append(b, frame(framePing, 0, 0, "12345678")...)
	}
	for range 10_000 {
		if _, err := r.Write(b); err != nil {
			break
		}
	}
	if err := <-r.result; err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("err = %v", err)
	}
}

func TestManyStreams(t *testing.T) {
	r := dialRaw(t, hold)
	var b []byte
	for i := range uint32(maxStreams + 10) {
		b = open(b, 2*i+1)
	}
	go func() { _, _ = r.Write(b) }()
	answers, refused := 0, 0
	for answers < maxStreams || refused < 10 {
		f, err := r.framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			answers++
		case *http2.RSTStreamFrame:
			if refused++; Code(f.ErrCode) != codeRefused || f.StreamID <= 2*maxStreams {
				t.Fatalf("%v", f)
			}
		}
	}
	// One goes, one may come.
	_, _ = io.WriteString(r, frame(frameData, flagEnd, 1, "x"))
	if f := until[*http2.DataFrame](t, r); !f.StreamEnded() || f.StreamID != 1 {
		t.Errorf("%v", f)
	}
	for id := uint32(2*maxStreams + 99); ; id += 2 { // its handler may still be on its way out
		_, _ = r.Write(open(nil, id))
		f, err := r.framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := f.(*http2.HeadersFrame); ok {
			break
		}
	}
	_ = r.Close()
	<-r.result
}

// Long heads get nginx's page, over whatever way they are long.
func TestLongHeads(t *testing.T) {
	get := AppendRequest(nil, "GET", "https", "a", "/")
	long := AppendField(bytes.Clone(get), "cookie", strings.Repeat("x", 2*maxList/5*4))
	bomb := append(bytes.Clone(get), 0x40, 1, 'x', 0x7f, 0x81, 0x1e) // 4000 bytes into the table
	bomb = append(append(bomb, bytes.Repeat([]byte{'y'}, 4000)...), bytes.Repeat([]byte{0xbe}, 10_000)...)
	broken := AppendField(bytes.Clone(get), ":path", "/again")
	for _, tt := range []struct {
		name  string
		block []byte
		text  string
	}{
		{"long", long, "Request Header Or Cookie Too Large"},
		{"bomb", bomb, "Request Header Or Cookie Too Large"},
		{"broken", broken, "<h1>400 Bad Request</h1>"},
		{"upper case", AppendField(bytes.Clone(get), "Cookie", "x"), "<h1>400 Bad Request</h1>"},
		{"connection", AppendField(bytes.Clone(get), "connection", "close"), "<h1>400 Bad Request</h1>"},
		{"no path", []byte{0x82, 0x87}, "<h1>400 Bad Request</h1>"},
		{"CONNECT", AppendRequest(nil, "CONNECT", "https", "a", "/"), "<h1>400 Bad Request</h1>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := dialRaw(t, hold)
			_, _ = r.Write(appendHeaders(nil, 1, flagEnd, tt.block))
			f := until[*http2.DataFrame](t, r)
			if !strings.Contains(string(f.Data()), tt.text) || !f.StreamEnded() {
				t.Errorf("%q", f.Data())
			}
			_ = r.Close()
			<-r.result
		})
	}
}

// Clients that are slow, or do nothing, end with the deadline of the connection.
func TestSlowLoris(t *testing.T) {
	for _, in := range []string{"", "\x00", string(open(nil, 1)), string(open(nil, 1)[:20]), frame(frameHeaders, 0, 1, "")} {
		client, server := transporttest.Pair(t)
		_ = server.SetDeadline(time.Now().Add(50 * time.Millisecond))
		result := serve(t, tunnel(), server, hold)
		_, _ = client.Write(append(appendSettings([]byte(Preface)), in...))
		if err := <-result; err == nil {
			t.Errorf("%q: no error", in)
		}
	}
}

// More than the window allows is not taken.
func TestReceiveWindow(t *testing.T) {
	release := make(chan struct{})
	r := dialRaw(t, func(_ context.Context, s *Stream, _ *Message) {
		<-release
		_ = s.Close()
	})
	b := open(nil, 1)
	for range serverWindow / maxFrame {
		b = append(b, frame(frameData, 0, 1, strings.Repeat("x", maxFrame))...)
	}
	_, _ = r.Write(b)
	_, _ = io.WriteString(r, frame(framePing, 0, 0, "12345678"))
	until[*http2.PingFrame](t, r)
	_, _ = io.WriteString(r, frame(frameData, 0, 1, "x"))
	if code := r.goAway(); code != int(codeFlowControl) {
		t.Errorf("code = %d", code)
	}
	close(release)
	<-r.result
}

// A stream that nobody reads does not stop the others, and what it may make us keep is bounded.
func TestStalledStream(t *testing.T) {
	release := make(chan struct{})
	k, _ := dialer(t, tunnel(), func(ctx context.Context, s *Stream, m *Message) {
		if s.id == 1 {
			_ = s.SetDeadline(time.Time{})
			<-release
			_ = s.Close()
			return
		}
		echo(ctx, s, m)
	})
	stuck, err := k.Open(t.Context(), put(), ok)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var sent atomic.Int64
	wg.Go(func() {
		for {
			n, err := stuck.Write(make([]byte, 10_000))
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	for range 3 {
		s, err := k.Open(t.Context(), put(), ok)
		if err != nil {
			t.Fatal(err)
		}
		transporttest.Echoes(t, s, 5<<20)
		_ = s.Close()
	}
	_ = stuck.Close() // wakes the writer
	wg.Wait()
	if n := sent.Load(); n > serverWindow {
		t.Errorf("%d bytes went to a stream that nobody reads", n)
	}
	close(release)
}

func TestGarbage(t *testing.T) {
	valid := open(appendSettings([]byte(Preface)), 1)
	valid = append(valid, frame(frameData, flagEnd, 1, "payload")...)
	valid = appendHeaders(valid, 3, flagEnd, AppendRequest(nil, "GET", "https", "a", "/"))
	s := sniffing{tunnel()}
	transporttest.Garbage(t, s, valid, func(answer []byte) bool {
		r := bytes.NewReader(answer)
		framer := http2.NewFramer(io.Discard, r)
		for r.Len() > 0 {
			if _, err := framer.ReadFrame(); err != nil {
				return false
			}
		}
		return true
	})
}

// The reader goes on while a peer that sends padding does not read what that is answered with.
func TestPaddingNeedsNoReader(t *testing.T) {
	client, server := net.Pipe()
	_ = client.SetDeadline(time.Now().Add(time.Minute))
	done := make(chan struct{})
	result := serve(t, tunnel(), server, func(_ context.Context, s *Stream, _ *Message) {
		<-done
		_ = s.Close()
	})
	r := &raw{Conn: client, framer: http2.NewFramer(client, client)}
	go func() { _, _ = client.Write(open(appendSettings([]byte(Preface)), 1)) }()
	until[*http2.HeadersFrame](t, r)
	padded := frame(frameData, flagPadded, 1, "\xfe"+strings.Repeat("x", 1+0xfe))
	for range serverWindow / 0x100 {
		if _, err := io.WriteString(client, padded); err != nil {
			t.Fatalf("the reader waits for us to read: %v", err)
		}
	}
	until[*http2.WindowUpdateFrame](t, r)
	close(done)
	_ = client.Close()
	<-result
}
