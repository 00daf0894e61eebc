package http1

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"heki/internal/netio"
)

// site serves one connection; what Serve returns comes from the channel.
func site(t *testing.T) (net.Conn, *netio.Conn, chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a, err1 := net.Dial("tcp", l.Addr().String())
	b, err2 := l.Accept()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	_ = l.Close()
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	c := netio.NewConn(b)
	result := make(chan error, 1)
	_ = b.SetDeadline(time.Now().Add(time.Minute))
	go func() { result <- (&Site{Name: "x"}).Serve(c) }()
	return a, c, result
}

func TestRequestsAreBounded(t *testing.T) {
	client, _, result := site(t)
	go func() {
		_, _ = io.WriteString(client, strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 2*maxRequests))
	}()
	r := bufio.NewReader(client)
	for n := 1; ; n++ {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("after %d pages: %v", n-1, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != 404 || resp.Header.Get("Server") != "x" {
			t.Fatalf("%s, %v", resp.Status, resp.Header)
		}
		if resp.Close {
			if n != maxRequests {
				t.Errorf("closed after %d pages", n)
			}
			break
		}
	}
	_ = client.Close()
	if err := <-result; !errors.Is(err, ErrRefused) {
		t.Errorf("err = %v", err)
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		statuses []int
	}{
		{"garbage", "\x16\x03\x01", []int{400}},
		{"hex", "0123456789abcdef", []int{400}},
		{"body is passed over", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", []int{404, 405}},
		{"1.0", "GET / HTTP/1.0\r\n\r\n", []int{404}},
		{"long body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", []int{413}},
		{"long line", "GET /" + strings.Repeat("a", maxLine) + " HTTP/1.1\r\nHost: a\r\n\r\n", []int{414}},
		{"long field", "GET / HTTP/1.1\r\nHost: a\r\nB: " + strings.Repeat("a", maxLine) + "\r\n\r\n", []int{400}},
		{"above the root", "PUT /../ HTTP/1.1\r\nHost: a\r\n\r\n", []int{400}},
		{"trace", "GET / HTTP/1.1\r\nHost: a\r\n\r\nTRACE / HTTP/1.1\r\nHost: a\r\n\r\n", []int{404, 405}},
		{"chunked ends it", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", []int{404}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, _, result := site(t)
			_, _ = io.WriteString(client, tt.in)
			r := bufio.NewReader(client)
			for i, want := range tt.statuses {
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				if resp.StatusCode != want || resp.Close != (i == len(tt.statuses)-1) {
					t.Errorf("answer %d: %s, close %v, want %d", i, resp.Status, resp.Close, want)
				}
			}
			if _, err := r.ReadByte(); err != io.EOF {
				t.Errorf("after the last page: %v", err)
			}
			_ = client.Close()
			if err := <-result; !errors.Is(err, ErrRefused) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

// A refusal is padded as any page, when the agent is known by then, a HEAD gets no body, and HTTP/0.9 nothing
// but the body.
func TestRefusals(t *testing.T) {
	const agent = "User-Agent: Chrome/1\r\n"
	for _, tt := range []struct {
		name, in, begin, end string
	}{
		{"padded", "GET / HTTP/1.1\r\n" + agent + "\r\n", "HTTP/1.1 400 ", padding},
		{"agent before", "GET / HTTP/1.1\r\n" + agent + "A B: c\r\n\r\n", "HTTP/1.1 400 ", padding},
		{"agent after", "GET / HTTP/1.1\r\nA B: c\r\n" + agent + "\r\n", "HTTP/1.1 400 ", "</html>\r\n"},
		{"head", "HEAD / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 ", "\r\nConnection: close\r\n\r\n"},
		{"HTTP/0.9", "GET /\r\n", "<html>\r\n<head><title>404 ", "</html>\r\n"},
		{"bad HTTP/0.9", "GET /%zz\n", "<html>\r\n<head><title>400 ", "</html>\r\n"},
	} {
		client, _, result := site(t)
		_, _ = io.WriteString(client, tt.in)
		got, err := io.ReadAll(client)
		if err != nil || !strings.HasPrefix(string(got), tt.begin) || !strings.HasSuffix(string(got), tt.end) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
		_ = client.Close()
		<-result
	}
}

// Who says too little is closed at the deadline without a word.
func TestSilentDeadline(t *testing.T) {
	for _, in := range []string{"", "GET / HT"} {
		client, server, result := site(t)
		_, _ = io.WriteString(client, in)
		_ = server.SetDeadline(time.Now().Add(20 * time.Millisecond))
		if got, err := io.ReadAll(client); len(got) > 0 || err != nil {
			t.Errorf("%q: answered with %q, %v", in, got, err)
		}
		if err := <-result; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: %v", in, err)
		}
	}
}
