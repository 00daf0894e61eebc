package webapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"heki/panel"
)

// TestClassOverSockets: a report that arrived whole is never of a class that has it sent again, and one
// that was cut is not held for a person.
func TestClassOverSockets(t *testing.T) {
	const small, large = 100, 32 << 20 // large is more than all the socket buffers on the way
	for _, tt := range []struct {
		name  string
		size  int
		whole bool   // the panel reads all of it
		say   string // then answers this
		hang  bool   // then waits for the node to give up
		class []panel.Class
	}{
		{"cut before the body", large, false, "", false, []panel.Class{panel.Unreachable}},
		{"given up amid the body", large, false, "", true, []panel.Class{panel.Unreachable}},
		{"answered amid the body", large, false, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", false, []panel.Class{panel.Refused, panel.Unreachable}},
		{"cut after a short body", small, true, "", false, []panel.Class{panel.Unclear}},
		{"cut after a long body", large, true, "", false, []panel.Class{panel.Unclear}},
		{"given up after the body", small, true, "", true, []panel.Class{panel.Unclear}},
		{"cut amid the answer", small, true, "HTTP/1.1 200 O", false, []panel.Class{panel.Unclear}},
		{"see other", small, true, "HTTP/1.1 303 See Other\r\nLocation: /done\r\nContent-Length: 0\r\n\r\n", false, []panel.Class{panel.Unclear}},
		{"found", small, true, "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", false, []panel.Class{panel.Refused}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var arrived atomic.Int32
			url := listen(t, func(conn net.Conn) {
				r := bufio.NewReader(conn)
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				if tt.whole {
					if n, _ := io.Copy(io.Discard, req.Body); n != int64(tt.size) {
						return
					}
					arrived.Add(1)
				}
				io.WriteString(conn, tt.say)
				if tt.hang {
					cancel()
					if tt.whole {
						io.Copy(io.Discard, r) // until the node hangs up
					} else {
						<-t.Context().Done()
					}
				}
			})
			_, err := caller(t, url).Post(ctx, "report traffic", "/push", nil, make([]byte, tt.size))
			var e *panel.Error
			if !errors.As(err, &e) {
				t.Fatalf("err = %v, want a panel.Error", err)
			}
			if !slices.Contains(tt.class, e.Class) {
				t.Errorf("class = %s, want one of %v (%v)", e.Class, tt.class, err)
			}
			if n := arrived.Load(); n != 1 && tt.whole || n != 0 && !tt.whole {
				t.Errorf("it arrived %d times", n)
			}
		})
	}
}

// The order in which the transport reports must not make an attempt that may have arrived look cut.
func TestProgress(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps string // g: got a connection, w: wrote the request, b: the write broke
		class panel.Class
	}{
		{"never connected", "", panel.Unreachable},
		{"cut", "gb", panel.Unreachable},
		{"cut twice", "gbgb", panel.Unreachable},
		{"under way", "g", panel.Unclear},
		{"written", "gw", panel.Unclear},
		{"written, then cut on another", "gwgb", panel.Unclear},
		{"cut, then written", "gbgw", panel.Unclear},
		{"the first one's end is told last", "ggwb", panel.Unclear},
		{"the first one's end is told before the second is through", "ggb", panel.Unclear},
	} {
		var p progress
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x", nil)
		if err != nil {
			t.Fatal(err)
		}
		trace := httptrace.ContextClientTrace(p.trace(req).Context())
		for _, step := range tt.steps {
			switch step {
			case 'g':
				trace.GotConn(httptrace.GotConnInfo{})
			case 'w':
				trace.WroteRequest(httptrace.WroteRequestInfo{})
			case 'b':
				trace.WroteRequest(httptrace.WroteRequestInfo{Err: io.ErrClosedPipe})
			}
		}
		if got := p.class(); got != tt.class {
			t.Errorf("%s: class = %s, want %s", tt.name, got, tt.class)
		}
	}
}

// caller calls url as the service does: a redirect is an answer.
func caller(t *testing.T, url string) *Caller {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c, err := New(panel.Env{HTTP: client, Now: time.Now, Say: func(slog.Level, string, ...any) {}}, url, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// listen serves each connection with serve and closes it, until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (url string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}
