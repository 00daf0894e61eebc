package panel

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A report that arrived whole and met a broken connection must not be sent again behind our back: net/http
// does so over HTTP/2. The server here takes either version and counts the reports.
func TestTransportNeverRepeatsReport(t *testing.T) {
	var booked atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.Method != http.MethodPost {
			return
		}
		booked.Add(1)
		panic(http.ErrAbortHandler)
	}))
	s.TLS = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	s.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) { resetStreams(conn, &booked) },
	}
	s.StartTLS()
	defer s.Close()

	transport := newTransport(maxConnsPerHost)
	transport.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	call := func(method, body string) error {
		req, err := http.NewRequestWithContext(ctx, method, s.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	for _, connection := range []string{"fresh", "used"} {
		if connection == "used" { // where net/http is bolder
			if err := call(http.MethodGet, ""); err != nil {
				t.Fatal(err)
			}
		}
		booked.Store(0)
		if err := call(http.MethodPost, `{"1":[1,2]}`); err == nil {
			t.Errorf("%s connection: no error", connection)
		}
		if n := booked.Load(); n != 1 {
			t.Fatalf("%s connection: the report arrived %d times, want once", connection, n)
		}
	}
}

// resetStreams speaks as much HTTP/2 as it takes to answer each whole report with PROTOCOL_ERROR.
func resetStreams(conn io.ReadWriter, booked *atomic.Int32) {
	const (
		frameData, frameReset, frameSettings = 0x0, 0x3, 0x4 // RFC 9113 §6
		flagEndStream, flagAck               = 0x1, 0x1
		protocolError                        = 0x1 // RFC 9113 §7
	)
	preface := make([]byte, len(http2Preface))
	if _, err := io.ReadFull(conn, preface); err != nil || string(preface) != http2Preface {
		return
	}
	write := func(kind, flags byte, stream uint32, payload []byte) {
		var b bytes.Buffer
		b.Write([]byte{0, 0, byte(len(payload)), kind, flags})
		b.Write(binary.BigEndian.AppendUint32(nil, stream))
		b.Write(payload)
		conn.Write(b.Bytes())
	}
	write(frameSettings, 0, 0, nil)
	for {
		var head [9]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		size := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
		if _, err := io.CopyN(io.Discard, conn, size); err != nil {
			return
		}
		kind, flags, stream := head[3], head[4], binary.BigEndian.Uint32(head[5:])
		switch {
		case kind == frameSettings && flags&flagAck == 0:
			write(frameSettings, flagAck, 0, nil)
		case kind == frameData && flags&flagEndStream != 0:
			booked.Add(1)
			write(frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, protocolError))
		}
	}
}

// http2Preface is what a client says first: RFC 9113 §3.4.
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
