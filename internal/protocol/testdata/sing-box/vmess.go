package main

import (
	"bytes"
	"context"
	"io"
	"net"

	"github.com/sagernet/sing-vmess"
	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
)

// vmessVectors prints what a client sends, and what a server answers it.
func vmessVectors(s *sink, id string) {
	for _, v := range []struct {
		name, security string
		alter          int
		udp            bool
		options        []vmess.ClientOption
	}{
		{"gcm", "aes-128-gcm", 0, false, nil},
		{"gcm-authlen", "aes-128-gcm", 0, false, []vmess.ClientOption{vmess.ClientWithGlobalPadding(), vmess.ClientWithAuthenticatedLength()}},
		{"chacha", "chacha20-poly1305", 0, false, []vmess.ClientOption{vmess.ClientWithGlobalPadding()}},
		{"zero", "zero", 0, false, nil},
		{"cfb", "aes-128-cfb", 0, false, nil},
		{"none-udp", "none", 0, true, nil},
		{"gcm-udp", "aes-128-gcm", 0, true, nil},
		{"legacy-gcm", "aes-128-gcm", 1, false, nil},
		{"legacy-chacha", "chacha20-poly1305", 1, false, nil},
		{"legacy-cfb", "aes-128-cfb", 1, false, nil},
		{"legacy-cfb-udp", "aes-128-cfb", 1, true, nil},
	} {
		client, err := vmess.NewClient(id, v.security, v.alter, v.options...)
		must(err)
		service := vmess.NewService[int](echo{}, vmess.ServiceWithDisableHeaderProtection())
		must(service.UpdateUsers([]int{1}, []string{id}, []int{v.alter}))
		var up, down sink
		a, b := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := service.NewConnection(context.Background(), tee{b, &down}, M.Socksaddr{}, nil); err != nil {
				panic(v.name + ": " + err.Error())
			}
		}()
		out := tee{a, &up}
		dst := M.ParseSocksaddr("example.com:443")
		if v.udp {
			c := client.DialEarlyPacketConn(out, dst)
			for range 2 {
				must(c.WritePacket(packet("hello"), dst))
				p := buf.NewPacket()
				_, err := c.ReadPacket(p)
				must(err)
			}
		} else {
			c := client.DialEarlyConn(out, dst)
			for range 2 {
				_, err := c.Write([]byte("hello"))
				must(err)
				_, err = io.ReadFull(c, make([]byte, 5))
				must(err)
			}
		}
		a.Close()
		<-done
		up.dump("vmess", "sing-"+v.name+"-request")
		down.dump("vmess", "sing-"+v.name+"-response")
	}
}

// tee notes what is written.
type tee struct {
	net.Conn
	s *sink
}

func (t tee) Write(p []byte) (int, error) {
	t.s.Write(bytes.Clone(p))
	return t.Conn.Write(p)
}

// echo answers with what it reads.
type echo struct{}

func (echo) NewConnectionEx(_ context.Context, conn net.Conn, _, _ M.Socksaddr, _ N.CloseHandlerFunc) {
	io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
}

func (echo) NewPacketConnectionEx(_ context.Context, conn N.PacketConn, _, dst M.Socksaddr, _ N.CloseHandlerFunc) {
	for {
		p := buf.NewSize(2000)
		p.Resize(500, 0)
		if _, err := conn.ReadPacket(p); err != nil {
			return
		}
		if conn.WritePacket(p, dst) != nil {
			return
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
