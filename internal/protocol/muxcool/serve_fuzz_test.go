package muxcool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/wire/wiretest"
)

// FuzzServe feeds a connection any bytes: nothing panics, every goroutine ends, and what the server
// says is whole frames, none of them New, with one End per id at most between two New of it.
func FuzzServe(f *testing.F) {
	open := encode(Frame{ID: 1, Status: StatusNew, Network: NetworkTCP, Address: M.ParseSocksaddr("a.io:80")}, "hello")
	f.Add([]byte(open + open + encode(Frame{ID: 1, Status: StatusKeep}, "more") + encode(Frame{ID: 1, Status: StatusEnd}, "")))
	f.Add([]byte(encode(xudp(0, gid), "one") + encode(xudp(1, gid), "two") + encode(Frame{ID: 1, Status: StatusKeep}, "x")))
	f.Add([]byte(encode(Frame{ID: 7, Status: StatusKeep}, "x") + encode(Frame{Status: StatusKeepAlive}, "y") + "\x00\x04\x00\x01\x01\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewRegistry()
		fake := wiretest.New(bytes.NewReader(in))
		_ = Serve(context.Background(), fake, Options{Handler: echo, Registry: r, User: "u", MaxStreams: 8})
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if !fake.Closed() {
			t.Error("the connection is left open")
		}
		checkAnswer(t, strings.Join(fake.Writes(), ""), in)
	})
}

// checkAnswer looks at all that the server said to in.
func checkAnswer(t *testing.T, out string, in []byte) {
	opened := make(map[uint16]int) // chances for an End: a New, or data of an unknown session
	for r := bufio.NewReader(bytes.NewReader(in)); ; {
		f, err := readFrame(r)
		if f.Status == StatusNew || f.Status == StatusKeep && f.HasData() {
			opened[f.ID]++
		}
		if err != nil {
			break
		}
	}
	for r := bufio.NewReader(strings.NewReader(out)); ; {
		f, err := readFrame(r)
		if err != nil {
			if r.Buffered() > 0 || errors.Is(err, ErrBadFrame) {
				t.Errorf("the server's bytes are no frames: %v", err)
			}
			return
		}
		if f.Status != StatusKeep && f.Status != StatusEnd {
			t.Errorf("the server sent %+v", f)
		}
		if f.Status == StatusEnd {
			if opened[f.ID]--; opened[f.ID] < 0 {
				t.Errorf("one End too many for %d", f.ID)
			}
		}
	}
}
