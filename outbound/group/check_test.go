package group

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"heki/adapter"
	"heki/option"
)

// page serves one page after a while.
func page(status string, after time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\r\n" {
				break
			}
		}
		time.Sleep(after) // the bubble's clock
		_, _ = io.WriteString(c, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\n")
	}
}

func checked(t *testing.T, pick string, log io.Writer, serve ...func(net.Conn)) (*Group, []*fake) {
	t.Helper()
	all := make(map[string]adapter.Outbound)
	o := option.Group{Pick: pick, Failover: true, Check: &option.GroupCheck{URL: "http://cp.test/204"}}
	var fakes []*fake
	for i, s := range serve {
		f := &fake{tag: string(rune('a' + i)), serve: s}
		fakes, all[f.tag] = append(fakes, f), f
		o.Outbounds = append(o.Outbounds, f.tag)
	}
	return join(t, o, slog.New(slog.NewTextHandler(log, nil)), all), fakes
}

// What does not answer, or badly, is asked last; once it does again, it is not.
func TestCheck(t *testing.T) {
	for name, bad := range map[string]func(net.Conn){
		"silent":     func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"status 502": page("502 Bad Gateway", 0),
		"no http":    func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0\r\n") },
		"endless": func(c net.Conn) {
			_, _ = io.Copy(c, strings.NewReader("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 100_000)))
		},
		"closed": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				good := page("204 No Content", 0)
				g, fakes := checked(t, option.PickRoundRobin, &log, bad, good, good)
				time.Sleep(10 * time.Second) // past the first round and its timeout
				synctest.Wait()
				if !g.members[0].down.Load() || g.members[1].down.Load() || strings.Count(log.String(), "does not work") != 1 {
					t.Fatalf("log: %s", &log)
				}
				for range 9 {
					if got := dial(t, g, user("u")); got == "a" {
						t.Fatal("a is asked before others")
					}
				}
				fakes[1].set(io.EOF, nil)
				fakes[2].set(io.EOF, nil)
				if got := dial(t, g, user("u")); got != "a" {
					t.Errorf("%s is asked last, want a", got)
				}
				for _, f := range fakes {
					f.set(nil, good)
				}
				time.Sleep(80 * time.Second) // the next round
				synctest.Wait()
				if g.members[0].down.Load() || strings.Count(log.String(), "works again") != 1 {
					t.Errorf("log: %s", &log)
				}
				g.Close()
			})
		})
	}
}

func TestLeastLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, fast := page("200 OK", 80*time.Millisecond), page("204 No Content", 20*time.Millisecond)
		g, fakes := checked(t, option.PickLeastLatency, io.Discard, slow, fast, nil)
		time.Sleep(10 * time.Second)
		if got := dial(t, g, user("u")); got != "b" {
			t.Errorf("%s is picked, b is fastest", got)
		}
		fakes[1].set(nil, page("200 OK", 300*time.Millisecond))
		time.Sleep(5 * time.Minute)
		if got := dial(t, g, user("u")); got != "a" {
			t.Errorf("%s is picked, a is fastest now", got)
		}
		g.Close()
		time.Sleep(time.Second) // for the page that was asked for last
	})
}

// A check that hangs does not keep the group from closing.
func TestCloseEndsTheCheck(t *testing.T) {
	var log bytes.Buffer
	g, _ := checked(t, option.PickRandom, &log, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if log.Len() > 0 {
		t.Errorf("log: %s", &log)
	}
}
