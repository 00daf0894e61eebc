package tls

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	utls "github.com/metacubex/utls"

	"heki/internal/netio"
	"heki/option"
)

// gate keeps back what is written while it is shut, to let it out in one write.
type gate struct {
	net.Conn
	shut bool
	kept []byte
}

func (g *gate) Write(p []byte) (int, error) {
	if !g.shut {
		return g.Conn.Write(p)
	}
	g.kept = append(g.kept, p...)
	return len(p), nil
}

// open lets out what was kept, and more behind it.
func (g *gate) open(t *testing.T, more string) {
	t.Helper()
	if _, err := g.Conn.Write(append(g.kept, more...)); err != nil {
		t.Fatal(err)
	}
	g.shut, g.kept = false, nil
}

// leaver is a client and a server in the middle of a connection.
type leaver struct {
	client *tls.Conn
	gate   *gate // below client
	server *Conn
}

// overBoth runs test over Go's TLS and over utls'.
func overBoth(t *testing.T, test func(t *testing.T, l leaver)) {
	start := func(t *testing.T, accept func(net.Conn) (*Conn, error)) {
		a, b := tcpPair(t)
		t.Cleanup(func() { _, _ = a.Close(), b.Close() })
		l := leaver{gate: &gate{Conn: a}}
		l.client = tls.Client(l.gate, &tls.Config{InsecureSkipVerify: true, ServerName: "a.example", DynamicRecordSizingDisabled: true})
		failed := make(chan error, 1)
		go func() { failed <- l.client.Handshake() }()
		var err error
		l.server, err = accept(b)
		if err := errors.Join(err, <-failed); err != nil {
			t.Fatal(err)
		}
		test(t, l)
	}
	t.Run("go", func(t *testing.T) {
		s := newServer(t, nil)
		start(t, func(c net.Conn) (*Conn, error) { return s.Handshake(t.Context(), c) })
	})
	t.Run("utls", func(t *testing.T) {
		certPEM, keyPEM := newPEM(t, 1, "a.example")
		cert, err := utls.X509KeyPair([]byte(certPEM), []byte(keyPEM))
		if err != nil {
			t.Fatal(err)
		}
		start(t, func(c net.Conn) (*Conn, error) {
			server := utls.Server(Under(c), &utls.Config{Certificates: []utls.Certificate{cert}})
			err := server.Handshake()
			return FromUTLS(server), err
		})
	})
}

// looksLikeAlert is what may follow TLS: a record that crypto/tls would read at once.
const looksLikeAlert = "\x15\x03\x03\x00\x02\x01\x00 and more"

func (l leaver) write(t *testing.T, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if _, err := l.client.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
}

// record expects one record.
func (l leaver) record(t *testing.T, want string) {
	t.Helper()
	b, err := l.server.WaitRecord()
	if err != nil {
		t.Fatal(err)
	}
	if string(b.Bytes()) != want {
		t.Fatalf("got %d bytes, %.20q, want %d, %.20q", b.Len(), b.Bytes(), len(want), want)
	}
	netio.Put(b)
}

// What follows the last record in the same segment is not taken for TLS.
func TestLeave(t *testing.T) {
	overBoth(t, func(t *testing.T, l leaver) {
		if err := l.server.CanLeave(); err != nil {
			t.Fatal(err)
		}
		l.write(t, "first")
		l.record(t, "first")
		l.gate.shut = true
		big := string(bytes.Repeat([]byte("x"), maxPlaintext))
		l.write(t, "second", big, "third")
		l.gate.open(t, looksLikeAlert)
		for _, want := range []string{"second", big, "third"} {
			l.record(t, want)
		}
		expectRest(t, l.server, looksLikeAlert)
		for name, read := range map[string]func() error{
			"Read":           func() error { _, err := l.server.Read(make([]byte, 1)); return err },
			"WaitReadBuffer": func() error { _, err := l.server.WaitReadBuffer(); return err },
			"WaitRecord":     func() error { _, err := l.server.WaitRecord(); return err },
		} {
			if err := read(); !errors.Is(err, ErrLeft) {
				t.Errorf("%s after Leave: %v", name, err)
			}
		}
		if l.server.Leave() != nil {
			t.Error("the same was handed out twice")
		}
	})
}

// expectRest leaves TLS and wants what comes next on the connection.
func expectRest(t *testing.T, c *Conn, want string) {
	t.Helper()
	got := make([]byte, 0, len(want))
	if b := c.Leave(); b != nil {
		if b.Start() < netio.Headroom || b.FreeLen() < netio.Headroom-(2*overhead) {
			t.Errorf("no headroom: %d before, %d behind", b.Start(), b.FreeLen())
		}
		got = append(got, b.Bytes()...)
		netio.Put(b)
	}
	n := len(got)
	if n > len(want) {
		t.Fatalf("got %d bytes, want %d", len(got), len(want))
	}
	if _, err := io.ReadFull(c.NetConn(), got[n:cap(got)][:len(want)-n]); err != nil {
		t.Fatal(err)
	}
	if got = got[:len(want)]; string(got) != want {
		t.Errorf("got %.20q, want %.20q", got, want)
	}
	if c.held != nil || c.in.raw.Len() > 0 || c.in.plain.Len() > 0 {
		t.Error("something is still held")
	}
}

// Leaving in the middle of a record hands out the rest of it first.
func TestLeaveMidRecord(t *testing.T) {
	overBoth(t, func(t *testing.T, l leaver) {
		l.gate.shut = true
		l.write(t, "secret")
		l.gate.open(t, looksLikeAlert[:1])
		p := make([]byte, 3)
		if _, err := io.ReadFull(l.server, p[:1]); err != nil {
			t.Fatal(err)
		}
		expectRest(t, l.server, "ecret"+looksLikeAlert[:1])
	})
	overBoth(t, func(t *testing.T, l leaver) {
		l.gate.shut = true
		l.write(t, "secret", "open")
		l.gate.open(t, "")
		if _, err := io.ReadFull(l.server, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		l.record(t, "ecret")
		l.record(t, "open")
	})
}

// As much as one system call reads may follow the last record.
func TestLeaveFullBatch(t *testing.T) {
	overBoth(t, func(t *testing.T, l leaver) {
		l.gate.shut = true
		l.write(t, "x")
		more := string(bytes.Repeat([]byte{0x15}, 2*batch))
		l.gate.open(t, more)
		l.record(t, "x")
		expectRest(t, l.server, more)
	})
}

// A forged record is final, and so is the end of the connection.
func TestWaitRecordErrors(t *testing.T) {
	overBoth(t, func(t *testing.T, l leaver) {
		l.gate.shut = true
		l.write(t, "x")
		forged := append(l.gate.kept[:5:5], bytes.Repeat([]byte{7}, len(l.gate.kept)-5)...)
		_, _ = l.gate.Conn.Write(append(l.gate.kept, forged...))
		l.record(t, "x")
		for range 2 {
			if _, err := l.server.WaitRecord(); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("a forged record: %v", err)
			}
		}
	})
	overBoth(t, func(t *testing.T, l leaver) {
		l.write(t, "x")
		_ = l.client.Close()
		l.record(t, "x")
		if _, err := l.server.WaitRecord(); err != io.EOF {
			t.Errorf("the end: %v", err)
		}
	})
}

// After the last record nothing of TLS is written, not even when it is closed.
func TestWriteLast(t *testing.T) {
	overBoth(t, func(t *testing.T, l leaver) {
		last := bytes.Repeat([]byte("y"), 8<<10) // utls cuts it into small records at first
		done := make(chan error, 1)
		go func() {
			_, err := l.server.Write([]byte("x"))
			done <- errors.Join(err, l.server.WriteLast(last))
		}()
		got := make([]byte, 1+len(last))
		if _, err := io.ReadFull(l.client, got); err != nil || string(got) != "x"+string(last) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if _, err := l.server.Write([]byte("z")); !errors.Is(err, ErrLeft) {
			t.Errorf("a later write: %v", err)
		}
		if _, err := l.server.NetConn().Write([]byte(looksLikeAlert)); err != nil {
			t.Fatal(err)
		}
		_, _ = l.server.CloseWrite(), l.server.Close()
		if rest, err := io.ReadAll(l.gate.Conn); err != nil || string(rest) != looksLikeAlert {
			t.Errorf("after the last record: %q, %v", rest, err)
		}
	})
}

func TestCannotLeave(t *testing.T) {
	_, server := connect(t, newServer(t, func(o *option.TLS) { o.MaxVersion = "1.2" }), nil)
	if err := server.CanLeave(); !errors.Is(err, ErrCannotLeave) {
		t.Errorf("TLS 1.2: %v", err)
	}
	_, server = connect(t, newServer(t, nil), nil)
	server.slow = netio.NewWaiter(struct{ io.Reader }{server.engine})
	if err := server.CanLeave(); !errors.Is(err, ErrCannotLeave) {
		t.Errorf("unknown fields: %v", err)
	}
	if _, err := server.WaitRecord(); !errors.Is(err, ErrCannotLeave) {
		t.Errorf("WaitRecord: %v", err)
	}
	if err := server.WriteLast([]byte("x")); !errors.Is(err, ErrCannotLeave) || server.Leave() != nil {
		t.Errorf("WriteLast: %v", err)
	}
}
