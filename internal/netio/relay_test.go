package netio

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// opaque hides everything of a connection but net.Conn, as a protocol's connection does.
type opaque struct{ net.Conn }

func (o opaque) CloseWrite() error { return CloseWrite(o.Conn) }

func TestRelayMovesCountsAndHalfCloses(t *testing.T) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"sockets": func(c net.Conn) net.Conn { return c },
		"ahead":   func(c net.Conn) net.Conn { return NewConn(c) },
		"opaque":  func(c net.Conn) net.Conn { return opaque{c} },
	} {
		t.Run(name, func(t *testing.T) {
			user, client := tcpPair(t)
			remote, site := tcpPair(t)
			var up, down atomic.Int64
			r := Relay{Up: func(n int64) { up.Add(n) }, Down: func(n int64) { down.Add(n) }}
			done := make(chan error, 1)
			go func() { done <- r.Run(wrap(client), wrap(remote)) }()

			data := make([]byte, 2<<20)
			rand.Read(data)
			go func() {
				user.Write(data)
				user.CloseWrite()
			}()
			got, err := io.ReadAll(site)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("up: %d bytes, %v", len(got), err)
			}
			go func() {
				site.Write(data[:1<<20])
				site.CloseWrite()
			}()
			got, err = io.ReadAll(user)
			if err != nil || !bytes.Equal(got, data[:1<<20]) {
				t.Fatalf("down: %d bytes, %v", len(got), err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if up.Load() != 2<<20 || down.Load() != 1<<20 {
				t.Errorf("counted %d up, %d down", up.Load(), down.Load())
			}
		})
	}
}

func TestRelayReportsFailedFirstWrite(t *testing.T) {
	user, client := tcpPair(t)
	remote, site := tcpPair(t)
	site.SetLinger(0)
	site.Close()
	go func() {
		for _, err := user.Write([]byte("x")); err == nil; _, err = user.Write([]byte("x")) {
			time.Sleep(time.Millisecond)
		}
	}()
	if err := new(Relay).Run(client, remote); err == nil {
		t.Error("a reset remote gave no error")
	}
}

// A reset is an ordinary end for the other side, unless it is to be passed on.
func TestRelayReset(t *testing.T) {
	for _, pass := range []bool{false, true} {
		user, client := tcpPair(t)
		remote, site := tcpPair(t)
		done := make(chan error, 1)
		go func() { done <- (&Relay{PassReset: pass}).Run(NewConn(client), NewConn(remote)) }()
		site.SetLinger(0)
		site.Close()
		if _, err := io.ReadAll(user); IsReset(err) != pass {
			t.Errorf("pass %t: the user sees %v", pass, err)
		}
		if err := <-done; !IsReset(err) {
			t.Errorf("pass %t: %v", pass, err)
		}
	}
}

// Who sends to a side that has closed is told at once, not with the next write.
func TestRelayLateReset(t *testing.T) {
	user, client := tcpPair(t)
	remote, site := tcpPair(t)
	done := make(chan error, 1)
	go func() { done <- (&Relay{PassReset: true}).Run(NewConn(client), NewConn(remote)) }()
	site.Close()
	if _, err := io.ReadAll(user); err != nil {
		t.Fatal(err)
	}
	user.Write([]byte("too late"))
	user.SetReadDeadline(time.Now().Add(time.Minute))
	if err := awaitReset(user); !IsReset(err) {
		t.Errorf("the user sees %v", err)
	}
	if err := <-done; !IsReset(err) {
		t.Errorf("err = %v", err)
	}
}

func TestRelayIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user, client := net.Pipe()
		remote, site := net.Pipe()
		done := make(chan error, 1)
		start := time.Now()
		go func() { done <- (&Relay{Idle: time.Minute}).Run(client, remote) }()
		go io.Copy(io.Discard, site)
		time.Sleep(50 * time.Second)
		user.Write([]byte("still here"))
		err := <-done
		if !errors.Is(err, ErrIdle) {
			t.Fatalf("err = %v, want ErrIdle", err)
		}
		if d := time.Since(start); d < 110*time.Second || d > 140*time.Second {
			t.Errorf("ended after %s, want about 1m50s", d)
		}
		site.Close()
		user.Close()
	})
}

// A client that cannot be told of an end must not wait for it as long as others do.
func TestRelayWithoutHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user, client := net.Pipe()
		remote, site := net.Pipe()
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- (&Relay{Idle: time.Hour, HalfClosed: time.Hour}).Run(client, remote) }()
		site.Close()
		if _, err := user.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("err = %v, want EOF", err)
		}
		<-done
		if d := time.Since(start); d > 2*muteTime {
			t.Errorf("took %s", d)
		}
	})
}

func TestRelayAllocatesNothingPerChunk(t *testing.T) {
	if raceEnabled {
		return // the race detector empties pools at random
	}
	user, client := tcpPair(t)
	remote, site := tcpPair(t)
	done := make(chan error, 1)
	go func() { done <- (&Relay{Up: func(int64) {}, Down: func(int64) {}}).Run(opaque{client}, remote) }()
	b := make([]byte, 1000)
	step := func() {
		site.Write(b)
		io.ReadFull(user, b)
	}
	step()
	if n := testing.AllocsPerRun(500, step); n > 0 {
		t.Errorf("%v allocations per chunk", n)
	}
	user.Close()
	site.Close()
	<-done
}

func benchmarkRelay(b *testing.B, wrap func(net.Conn) net.Conn, chunk int) {
	user, client := tcpPair(b)
	remote, site := tcpPair(b)
	done := make(chan error, 1)
	go func() { done <- (&Relay{Up: func(int64) {}, Down: func(int64) {}}).Run(wrap(client), wrap(remote)) }()
	go io.Copy(io.Discard, user)
	msg := make([]byte, chunk)
	b.SetBytes(int64(chunk))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := site.Write(msg); err != nil {
			b.Fatal(err)
		}
	}
	user.Close()
	site.Close()
	<-done
}

func BenchmarkRelay(b *testing.B) {
	plain := func(c net.Conn) net.Conn { return c }
	hidden := func(c net.Conn) net.Conn { return opaque{c} }
	b.Run("splice/64KiB", func(b *testing.B) { benchmarkRelay(b, plain, 64<<10) })
	b.Run("copy/64KiB", func(b *testing.B) { benchmarkRelay(b, hidden, 64<<10) })
	b.Run("copy/1KiB", func(b *testing.B) { benchmarkRelay(b, hidden, 1<<10) })
}
