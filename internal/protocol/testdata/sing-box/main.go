// Command main prints what this implementation sends, one vector a line; see ../README.md.
package main

import (
	"bytes"
	"fmt"
	"net"
	"time"

	"github.com/sagernet/sing-box/transport/trojan"
	"github.com/sagernet/sing-vmess"
	"github.com/sagernet/sing-vmess/packetaddr"
	"github.com/sagernet/sing-vmess/vless"
	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
)

type sink struct{ bytes.Buffer }

func (s *sink) Close() error                     { return nil }
func (s *sink) LocalAddr() net.Addr              { return nil }
func (s *sink) RemoteAddr() net.Addr             { return nil }
func (s *sink) SetDeadline(time.Time) error      { return nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }
func (s *sink) dump(file, name string) {
	fmt.Printf("%s %s %x\n", file, name, s.Bytes())
	s.Reset()
}
func packet(p string) *buf.Buffer {
	b := buf.NewSize(1000)
	b.Resize(500, 0)
	b.WriteString(p)
	return b
}

func main() {
	var s sink
	id := [16]byte{0x66, 0xad, 0x45, 0x40, 0xb5, 0x8c, 0x4a, 0xd2, 0x99, 0x26, 0xea, 0x63, 0x44, 0x5a, 0x9b, 0x57}
	req := func(name string, cmd byte, dst, flow string) {
		if err := vless.WriteRequest(&s, vless.Request{UUID: id, Command: cmd, Destination: M.ParseSocksaddr(dst), Flow: flow}, nil); err != nil {
			panic(err)
		}
		s.dump("vless", name)
	}
	req("sing-tcp-domain-vision", vmess.CommandTCP, "example.com:443", "xtls-rprx-vision")
	req("sing-tcp-ipv6", vmess.CommandTCP, "[2001:db8::1]:443", "")
	req("sing-mux", vmess.CommandMux, "v1.mux.cool:666", "")
	if err := vless.WritePacketRequest(&s, vless.Request{UUID: id, Command: vmess.CommandUDP, Destination: M.ParseSocksaddr("1.2.3.4:53")}, []byte("query")); err != nil {
		panic(err)
	}
	s.dump("vless", "sing-udp-first-packet")

	x := vmess.NewXUDPConn(&s, M.ParseSocksaddr("8.8.8.8:53"))
	x.WritePacket(packet("query"), M.ParseSocksaddr("8.8.8.8:53"))
	s.dump("muxcool", "sing-xudp-new")
	x.WritePacket(packet("other"), M.ParseSocksaddr("example.com:54"))
	s.dump("muxcool", "sing-xudp-keep-domain")

	p := packetaddr.NewBindConn(&s)
	p.WritePacket(packet("query"), M.ParseSocksaddr("8.8.8.8:53"))
	s.dump("packetaddr", "sing-ipv4")
	p.WritePacket(packet("query"), M.ParseSocksaddr("[2001:db8::1]:54"))
	s.dump("packetaddr", "sing-ipv6")

	key := trojan.Key("password")
	trojan.ClientHandshake(&s, key, M.ParseSocksaddr("example.com:443"), []byte("GET"))
	s.dump("trojan", "sing-tcp-domain")
	trojan.ClientHandshakePacket(&s, key, M.ParseSocksaddr("1.2.3.4:53"), packet("query"))
	s.dump("trojan", "sing-udp-first-packet")
	trojan.WritePacket(&s, packet("other"), M.ParseSocksaddr("[2001:db8::1]:54"))
	s.dump("trojan", "sing-udp-frame-ipv6")
	singmuxVectors()
	shadowsocksVectors(&s)
	vmessVectors(&s, "66ad4540-b58c-4ad2-9926-ea63445a9b57")
}
