package anytls

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/muxio"
	"heki/internal/protocol/wire/wiretest"
)

// bubble runs f where time is the test's.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestSettings(t *testing.T) {
	custom, err := ParseScheme("stop=2\n0=10-20")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		scheme *Scheme
		in     Settings
		want   []got
	}{
		{"version 2, our padding", nil, Settings{2, "x", DefaultScheme().MD5()}, []got{{Frame{CommandServerSettings, 0, 3}, "v=2"}}},
		{"version 3", nil, Settings{3, "x", DefaultScheme().MD5()}, []got{{Frame{CommandServerSettings, 0, 3}, "v=2"}}},
		{"version 1, our padding", nil, Settings{1, "x", DefaultScheme().MD5()}, nil},
		{"version 1, other padding", nil, Settings{1, "x", "00"}, []got{{Frame{CommandUpdatePadding, 0, len(DefaultPadding)}, DefaultPadding}}},
		{"version 2, custom padding", custom, Settings{2, "x", DefaultScheme().MD5()}, []got{
			{Frame{CommandUpdatePadding, 0, len(custom.Text())}, custom.Text()}, {Frame{CommandServerSettings, 0, 3}, "v=2"},
		}},
		{"custom padding known", custom, Settings{1, "x", custom.MD5()}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				opt := options(echo)
				opt.Scheme = tt.scheme
				c := dial(t, opt)
				c.settings(tt.in)
				for _, w := range tt.want {
					c.want(w.Command, w.Stream, w.data)
				}
				c.silent()
				if err := c.close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestStreamBeforeSettings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := dial(t, options(echo))
		c.send(CommandSYN, 1, "")
		c.want(CommandAlert, 0, "client did not send its settings")
		if err := <-c.result; !errors.Is(err, ErrNoSettings) {
			t.Error(err)
		}
	})
}

func TestEcho(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := session(t, 2, options(func(ctx context.Context, conn net.Conn, dst M.Socksaddr) {
			if dst.String() != "a.io:80" {
				t.Errorf("destination %s", dst)
			}
			echo(ctx, conn, dst)
		}))
		c.send(CommandSYN, 1, "")
		for _, b := range address.AppendS(nil, M.ParseSocksaddr("a.io:80")) { // an address in pieces
			c.send(CommandPSH, 1, string(b))
		}
		c.want(CommandSYNACK, 1, "")
		c.send(CommandWaste, 0, strings.Repeat("\x00", 500))
		for _, data := range []string{"hello", strings.Repeat("x", 65535)} {
			c.send(CommandPSH, 1, data)
			back := ""
			for len(back) < len(data) {
				f := <-c.frames
				back += f.data
			}
			if back != data {
				t.Errorf("%d bytes came back changed", len(back))
			}
		}
		c.send(CommandFIN, 1, "")
		c.silent() // no answer to an end
		c.open(2, "a.io:80", "again")
		c.want(CommandSYNACK, 2, "")
		c.want(CommandPSH, 2, "again")
		c.close()
	})
}

func TestVersion1HasNoAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := session(t, 1, options(func(ctx context.Context, conn net.Conn, dst M.Socksaddr) {
			if dst.Port == 1 {
				_ = raw(conn).HandshakeFailure(io.EOF)
				return
			}
			echo(ctx, conn, dst)
		}))
		c.open(1, "a.io:1", "")
		c.want(CommandFIN, 1, "")
		c.open(2, "a.io:2", "x")
		c.want(CommandPSH, 2, "x")
		time.Sleep(time.Minute)
		c.silent()
		c.close()
	})
}

// Clients of version 2 give a session up on which a stream has no answer for 3 s.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve handler
		want  []got
		after time.Duration
	}{
		{"refused", func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			_ = raw(conn).HandshakeFailure(fmt.Errorf("dial: %w", syscall.ECONNREFUSED))
		}, []got{{Frame{CommandSYNACK, 1, 18}, "connection refused"}, {Frame{CommandFIN, 1, 0}, ""}}, 0},
		{"a rule", func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			_ = raw(conn).HandshakeFailure(errors.New("secret rule 7"))
		}, []got{{Frame{CommandSYNACK, 1, 11}, "not reached"}, {Frame{CommandFIN, 1, 0}, ""}}, 0},
		{
			"closed", func(context.Context, net.Conn, M.Socksaddr) {},
			[]got{{Frame{CommandSYNACK, 1, 6}, "closed"}, {Frame{CommandFIN, 1, 0}, ""}},
			0,
		},
		{
			"ended", func(_ context.Context, conn net.Conn, _ M.Socksaddr) { _ = raw(conn).CloseWrite() },
			[]got{{Frame{CommandSYNACK, 1, 0}, ""}, {Frame{CommandFIN, 1, 0}, ""}},
			0,
		},
		{"slow dial", hold, []got{{Frame{CommandSYNACK, 1, 0}, ""}}, ackTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := session(t, 2, options(tt.serve))
				c.open(1, "a.io:1", "")
				start := time.Now()
				for _, w := range tt.want {
					c.want(w.Command, w.Stream, w.data)
				}
				if took := time.Since(start); took != tt.after {
					t.Errorf("took %s, want %s", took, tt.after)
				}
				c.silent()
				c.close()
			})
		})
	}
}

// A client that ends a stream before it is answered goes on using the session.
func TestAnswerAfterTheClientsEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := session(t, 2, options(hold))
		c.send(CommandSYN, 1, "")
		c.send(CommandFIN, 1, "")
		c.want(CommandSYNACK, 1, "")
		c.silent()
		c.close()
	})
}

func TestTooManyStreams(t *testing.T) {
	bubble(t, func(t *testing.T) {
		opt := options(hold)
		opt.MaxStreams = 2
		c := session(t, 2, opt)
		for id := range uint32(3) {
			c.send(CommandSYN, id, "")
		}
		c.want(CommandSYNACK, 2, "too many streams")
		c.want(CommandFIN, 2, "")
		c.send(CommandSYN, 1, "") // a second time: nothing
		c.silent()
		c.close()
	})
}

func TestSmallFrames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := session(t, 2, options(echo))
		c.send(CommandHeartRequest, 7, "")
		c.want(CommandHeartResponse, 7, "")
		c.send(CommandPSH, 99, "nobody's")
		c.send(CommandFIN, 99, "")
		c.send(CommandSYNACK, 1, "not a server's")
		c.send(200, 1, "unknown, with data")
		c.open(1, "a.io:1", "alive")
		c.want(CommandSYNACK, 1, "")
		c.want(CommandPSH, 1, "alive")
		c.send(CommandAlert, 0, "no more")
		if err := <-c.result; !errors.Is(err, ErrAlert) || !strings.Contains(err.Error(), "no more") {
			t.Error(err)
		}
	})
}

func TestBadRequests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := session(t, 2, options(echo))
		c.send(CommandSYN, 1, "")
		c.send(CommandPSH, 1, "\x09 no address")
		c.want(CommandSYNACK, 1, "closed")
		c.want(CommandFIN, 1, "")
		start := time.Now()
		c.send(CommandSYN, 2, "") // never says where
		c.want(CommandSYNACK, 2, "")
		c.want(CommandFIN, 2, "")
		if took := time.Since(start); took != requestTimeout {
			t.Errorf("took %s", took)
		}
		c.send(CommandSettings, 0, strings.Repeat("x", maxSettings+1))
		if err := <-c.result; !errors.Is(err, ErrBadRequest) {
			t.Error(err)
		}
	})
}

func TestIdleSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := session(t, 2, options(echo))
		start := time.Now()
		time.Sleep(IdleTimeout - time.Second)
		c.open(1, "a.io:1", "x") // a stream keeps it
		time.Sleep(time.Hour)
		c.send(CommandFIN, 1, "")
		if err := <-c.result; err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != time.Hour+2*IdleTimeout-time.Second {
			t.Errorf("closed after %s", took)
		}
	})
}

// flood sends more than a stream's queue holds.
func flood(c *client, id uint32) {
	for range muxio.StreamQueue/60_000 + 2 {
		c.send(CommandPSH, id, strings.Repeat("x", 60_000))
	}
}

// A reader that stands still holds the others up once, then its stream alone ends.
func TestStalledStreamEndsAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := session(t, 2, options(func(ctx context.Context, conn net.Conn, dst M.Socksaddr) {
			if dst.Port == 2 {
				echo(ctx, conn, dst)
				return
			}
			_ = succeed(conn)
			<-ctx.Done()
		}))
		c.open(1, "a.io:1", "")
		c.want(CommandSYNACK, 1, "")
		c.open(2, "a.io:2", "")
		c.want(CommandSYNACK, 2, "")
		start := time.Now()
		flood(c, 1)
		c.want(CommandFIN, 1, "")
		c.send(CommandPSH, 2, "alive")
		c.want(CommandPSH, 2, "alive")
		if took := time.Since(start); took != muxio.StallTimeout {
			t.Errorf("took %s, want %s", took, muxio.StallTimeout)
		}
		flood(c, 1) // dropped without a word
		c.send(CommandPSH, 2, "still alive")
		c.want(CommandPSH, 2, "still alive")
		c.close()
	})
}

// Alone on its session a slow reader gets everything, whatever it takes.
func TestSlowStreamAloneGetsEverything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		total := make(chan int, 1)
		c := session(t, 1, options(func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			time.Sleep(time.Hour)
			n, _ := io.Copy(io.Discard, conn)
			total <- int(n)
		}))
		c.open(1, "a.io:1", "")
		flood(c, 1)
		c.send(CommandFIN, 1, "")
		if got, want := <-total, (muxio.StreamQueue/60_000+2)*60_000; got != want {
			t.Errorf("read %d bytes, want %d", got, want)
		}
		c.close()
	})
}

// A client that reads nothing cannot pile up answers.
func TestAnswersAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := dialQuiet(t.Context(), t, options(echo))
		frame := AppendFrame(nil, Frame{Command: CommandHeartRequest})
		for n := range 2 * maxPending / headerSize {
			if _, err := c.conn.Write(frame); err != nil {
				if n < maxPending/headerSize {
					t.Errorf("closed after %d", n)
				}
				<-c.result
				return
			}
		}
		t.Error("not closed")
		c.close()
	})
}

func TestContextEndsTheSession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := dialQuiet(ctx, t, options(hold))
		go c.pump()
		c.settings(Settings{Version: 2})
		c.open(1, "a.io:1", "")
		synctest.Wait()
		cancel()
		if err := <-c.result; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestPaddingOfTheAuthentication(t *testing.T) {
	bubble(t, func(t *testing.T) {
		in := strings.Repeat("\x00", 5000) + string(AppendFrame(nil, Frame{Command: CommandHeartRequest}))
		fake := wiretest.New(strings.NewReader(in))
		if err := Serve(t.Context(), fake, 5000, options(echo)); err != nil {
			t.Error(err)
		}
		local, remote := net.Pipe()
		defer local.Close()
		start := time.Now()
		if err := Serve(t.Context(), wiretest.NewPeeker(remote), 5000, options(echo)); err == nil || time.Since(start) != paddingTimeout {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

// FuzzServe feeds a session any bytes: nothing panics, every goroutine ends, and what the server says
// is whole frames of commands that are a server's.
func FuzzServe(f *testing.F) {
	hello := string(appendText(nil, CommandSettings, 0, "v=2"))
	open := string(AppendFrame(nil, Frame{Command: CommandSYN, Stream: 1})) +
		string(appendText(nil, CommandPSH, 1, string(address.AppendS(nil, M.ParseSocksaddr("a.io:80")))+"hello"))
	f.Add([]byte(hello + open + string(appendText(nil, CommandPSH, 1, "more")) + string(AppendFrame(nil, Frame{Command: CommandFIN, Stream: 1}))))
	f.Add([]byte(open))
	f.Add([]byte(hello + string(AppendFrame(nil, Frame{Command: CommandHeartRequest})) + string(appendText(nil, CommandAlert, 0, "x"))))
	f.Fuzz(func(t *testing.T, in []byte) {
		fake := wiretest.New(bytes.NewReader(in))
		opt := options(echo)
		opt.MaxStreams = 8
		_ = Serve(context.Background(), fake, 0, opt)
		if !fake.Closed() {
			t.Error("the connection is left open")
		}
		for r := bufio.NewReader(strings.NewReader(strings.Join(fake.Writes(), ""))); ; {
			f, err := readFrame(r)
			if err == io.EOF && r.Buffered() == 0 {
				return
			}
			if err != nil {
				t.Fatalf("the server's bytes are no frames: %v", err)
			}
			switch f.Command {
			case CommandPSH, CommandFIN, CommandAlert, CommandUpdatePadding, CommandSYNACK, CommandHeartResponse, CommandServerSettings:
			default:
				t.Errorf("the server sent %+v", f)
			}
		}
	})
}
