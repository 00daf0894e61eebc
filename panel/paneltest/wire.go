package paneltest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"
	"time"
)

// Wire carries requests to a Panel without sockets, so that tests with a fake clock can use it. It
// implements http.RoundTripper and fails as a network would.
type Wire struct {
	Panel *Panel
	down  atomic.Bool
}

// SetDown makes connections refused, or taken again.
func (w *Wire) SetDown(down bool) { w.down.Store(down) }

// RoundTrip implements http.RoundTripper.
func (w *Wire) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if w.down.Load() {
		addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: addr, Err: syscall.ECONNREFUSED}
	}
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	if trace != nil && trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{})
	}
	in := req.Clone(ctx)
	in.Body = io.NopCloser(bytes.NewReader(body))
	out := &wireAnswer{header: make(http.Header)}
	ended := make(chan any, 1)
	go func() {
		defer func() { ended <- recover() }()
		w.Panel.ServeHTTP(out, in)
	}()
	select {
	case v := <-ended:
		return out.response(req, v)
	case <-ctx.Done():
		<-ended // the panel sees that the node hung up
		return nil, ctx.Err()
	}
}

// wireAnswer is the ResponseWriter of a Wire.
type wireAnswer struct {
	header   http.Header
	status   int
	body     bytes.Buffer
	hijacked bool
	flushed  bool
}

func (a *wireAnswer) Header() http.Header { return a.header }

func (a *wireAnswer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *wireAnswer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// Flush implements http.Flusher.
func (a *wireAnswer) Flush() { a.flushed = true }

// Hijack implements http.Hijacker: who takes the connection over only ever cuts it.
func (a *wireAnswer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	a.hijacked = true
	conn, other := net.Pipe()
	other.Close()
	return conn, nil, nil
}

// response is what the node sees after the handler ended, with panicked as what it panicked with.
func (a *wireAnswer) response(req *http.Request, panicked any) (*http.Response, error) {
	aborted := panicked != nil
	if err, _ := panicked.(error); aborted && !errors.Is(err, http.ErrAbortHandler) {
		panic(panicked)
	}
	switch {
	case a.hijacked:
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	case aborted && !a.flushed:
		return nil, io.EOF
	case a.status == 0:
		return nil, errors.New("no answer")
	}
	resp := &http.Response{
		StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, ContentLength: -1, Request: req,
	}
	if resp.Header.Get("Date") == "" {
		resp.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	var body io.Reader = &a.body
	if aborted {
		body = io.MultiReader(body, cut{})
	}
	resp.Body = io.NopCloser(body)
	return resp, nil
}

// cut is the end of a body that was cut.
type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
