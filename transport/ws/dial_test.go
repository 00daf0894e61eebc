package ws

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"heki/internal/netio"
	"heki/option"
)

func TestDial(t *testing.T) {
	o := option.Transport{Path: "/ü", Host: option.Listable[string]{"a.example"}}
	client, _, result := serve(t, newServer(t, o))
	d, err := NewDialer(&o, "b.example")
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 2<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for rest := slices.Clone(data); len(rest) > 0; {
			b := netio.Get()
			n, _ := b.Write(rest[:min(len(rest), 1+rand.N(40_000))])
			rest = rest[n:]
			if err := c.(*Conn).WriteBuffer(netio.Filled(b)); err != nil {
				t.Error(err)
			}
			netio.Put(b)
		}
	})
	got := make([]byte, len(data))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("other bytes, %v", err)
	}
	wg.Wait()
	if err := netio.CloseWrite(c); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("close write: %v", err)
	}
	_ = c.Close()
	if err := <-result; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// The server's Close is the end of the stream.
func TestDialAndServerCloses(t *testing.T) {
	client, server := pipe(t)
	c := newConn(client, nil)
	c.client, c.dec.bare = true, true
	go func() {
		_, _ = server.Write([]byte("bye"))
		_ = server.CloseWrite()
	}()
	if all, err := io.ReadAll(c); string(all) != "bye" || err != nil {
		t.Errorf("%q, %v", all, err)
	}
	_ = c.Close()
}

func TestDialFails(t *testing.T) {
	d, err := NewDialer(&option.Transport{Path: "/x"}, "a")
	if err != nil {
		t.Fatal(err)
	}
	client, _, result := serve(t, newServer(t, option.Transport{Path: "/y"}))
	if _, err := d.Dial(t.Context(), client); !errors.Is(err, ErrNoUpgrade) {
		t.Errorf("other path: %v", err)
	}
	<-result

	client, server := tcpPair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := d.Dial(ctx, client); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent server: %v", err)
	}
	_ = server.Close()
}

// The frames of a server, in any pieces.
func TestBareDecoder(t *testing.T) {
	var in []byte
	want := ""
	for _, n := range []int{0, 1, 125, 126, 70_000} {
		p := string(bytes.Repeat([]byte{'x'}, n))
		in = append(appendHeader(in, opBinary, 0, n), p...)
		want += p
	}
	for _, size := range []int{1, 2, 3, 7, len(in)} {
		d := decoder{bare: true}
		got := 0
		for rest := in; len(rest) > 0; {
			piece := rest[:min(size, len(rest))]
			rest = rest[len(piece):]
			for len(piece) > 0 {
				n, _, data, err := d.next(piece)
				if err != nil {
					t.Fatal(err)
				}
				piece = piece[n:]
				got += len(data)
			}
		}
		if got != len(want) || d.partial() {
			t.Errorf("pieces of %d: %d bytes, partial %v", size, got, d.partial())
		}
	}
	d := decoder{bare: true}
	if _, _, _, err := d.next([]byte{0x82, 0x81}); !errors.Is(err, ErrProtocol) {
		t.Errorf("masked frame of a server: %v", err)
	}
}
