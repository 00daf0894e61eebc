package h2

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"heki/transport/internal/transporttest"
)

// parsed runs the reader alone over in, in pieces of n bytes, and writes down what it made of it.
func parsed(in []byte, n int) string {
	var log bytes.Buffer
	c := newConn(transporttest.NewScript(nil), false, 0)
	c.onHead = func(id uint32, m *Message) error {
		fmt.Fprintf(&log, "head %d %+v\n", id, *m)
		if id > c.last && id&1 == 1 {
			c.last = id
			s := newStream(c, id)
			s.trailers = []byte{}
			c.streams[id] = s
		}
		return nil
	}
	var err error
	for rest := in; len(rest) > 0 && err == nil; {
		piece := rest[:min(len(rest), n)]
		rest = rest[len(piece):]
		err = c.parse(piece)
		c.wake(nil)
	}
	fmt.Fprintf(&log, "error %v, window %d, peer %d %d\n", err, c.sendWindow, c.peerWindow, c.peerFrame)
	for id := uint32(1); id <= min(c.last, 100); id++ {
		if s := c.streams[id]; s != nil {
			fmt.Fprintf(&log, "stream %d window %d:", id, s.sendWindow)
			for _, b := range s.queue {
				log.Write(b.Bytes())
			}
			fmt.Fprintf(&log, " %v\n", s.rerr)
			_ = s.drop()
		}
	}
	log.Write(c.control)
	c.over = true
	c.wg.Wait()
	return log.String()
}

// However the bytes come in pieces, the same is made of them.
func FuzzParse(f *testing.F) {
	f.Add(append(open(appendSettings(nil, setting{settingWindow, 1}), 1), frame(frameData, flagPadded|flagEnd, 1, "\x02abcde")...), byte(1))
	f.Add(append(appendSettings(nil), frame(frameHeaders, flagPadded|flagPriority, 1, "\x01\x00\x00\x00\x00\x00\x82\x87\x84x")+
		frame(frameContinuation, flagHeaders, 1, "\x41\x01a")+frame(frameWindow, 0, 1, "\x00\x00\x00\x05")+frame(framePing, 0, 0, "12345678")...), byte(2))
	f.Add([]byte(frame(frameSettings, 0, 0, "\x00\x05\x00\x00\x40\x00")+frame(frameGoAway, 0, 0, "12345678debug")+frame(0x10, 0, 0, "u=1")), byte(7))
	f.Fuzz(func(t *testing.T, in []byte, n byte) {
		whole := parsed(in, len(in)+1)
		if pieces := parsed(in, int(n)+1); pieces != whole {
			t.Errorf("%q in pieces of %d:\n got %s\nwant %s", in, int(n)+1, pieces, whole)
		}
	})
}

// What we encode is what x/net decodes.
func FuzzFields(f *testing.F) {
	f.Add("content-type", "application/grpc", 404)
	f.Add("x-a", "\x00\xff", 200)
	f.Fuzz(func(t *testing.T, name, value string, status int) {
		status = 100 + (status&0x7fffffff)%500
		block := AppendField(AppendStatus(nil, status), name, value)
		fields, err := hpack.NewDecoder(4096, nil).DecodeFull(block)
		if err != nil || len(fields) != 2 || fields[0].Value != fmt.Sprint(status) || fields[1].Name != name || fields[1].Value != value {
			t.Errorf("%q: %q is %v, %v", name, value, fields, err)
		}
		var b bytes.Buffer
		b.Write(appendHeaders(nil, 1, 0, block))
		framer := http2.NewFramer(io.Discard, &b)
		framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		framer.MaxHeaderListSize = 1 << 20
		if _, err := framer.ReadFrame(); err != nil && plain(name) && printable(value) {
			t.Errorf("%q: %q as frames: %v", name, value, err)
		}
	})
}

func plain(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") == "" && !connectionField(name, "")
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
