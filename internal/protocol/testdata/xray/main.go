// Command main prints what this implementation sends, one vector a line; see ../README.md.
package main

import (
	"bytes"
	"fmt"

	"github.com/xtls/xray-core/common/buf"
	"github.com/xtls/xray-core/common/mux"
	"github.com/xtls/xray-core/common/net"
	"github.com/xtls/xray-core/common/protocol"
	"github.com/xtls/xray-core/common/uuid"
	"github.com/xtls/xray-core/proxy/trojan"
	"github.com/xtls/xray-core/proxy/vless"
	"github.com/xtls/xray-core/proxy/vless/encoding"
)

type sink struct{ bytes.Buffer }

func (s *sink) WriteMultiBuffer(mb buf.MultiBuffer) error {
	for _, b := range mb {
		s.Write(b.Bytes())
		b.Release()
	}
	return nil
}
func (s *sink) dump(file, name string) {
	fmt.Printf("%s %s %x\n", file, name, s.Bytes())
	s.Reset()
}
func one(p string) buf.MultiBuffer { b := buf.New(); b.WriteString(p); return buf.MultiBuffer{b} }

func main() {
	var s sink
	id, _ := uuid.ParseString("66ad4540-b58c-4ad2-9926-ea63445a9b57")
	user := &protocol.MemoryUser{Account: &vless.MemoryAccount{ID: protocol.NewID(id)}}
	req := func(name string, cmd protocol.RequestCommand, addr string, port net.Port, flow string) {
		r := &protocol.RequestHeader{Version: 0, User: user, Command: cmd, Address: net.ParseAddress(addr), Port: port}
		if err := encoding.EncodeRequestHeader(&s, r, &encoding.Addons{Flow: flow}); err != nil {
			panic(err)
		}
		s.dump("vless", name)
	}
	req("xray-tcp-domain-vision", protocol.RequestCommandTCP, "example.com", 443, vless.XRV)
	req("xray-tcp-ipv4", protocol.RequestCommandTCP, "1.2.3.4", 80, "")
	req("xray-udp-ipv6", protocol.RequestCommandUDP, "2001:db8::1", 53, "")
	req("xray-mux", protocol.RequestCommandMux, "v1.mux.cool", 0, "")

	w := mux.NewWriter(1, net.TCPDestination(net.ParseAddress("example.com"), 443), &s, protocol.TransferTypeStream, [8]byte{}, nil)
	w.WriteMultiBuffer(one("hello"))
	s.dump("muxcool", "xray-tcp-new")
	w.WriteMultiBuffer(one("more"))
	s.dump("muxcool", "xray-tcp-keep")
	w.Close()
	s.dump("muxcool", "xray-tcp-end")
	w = mux.NewWriter(0, net.UDPDestination(net.ParseAddress("8.8.8.8"), 53), &s, protocol.TransferTypePacket, [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, nil)
	mb := one("query")
	d := net.UDPDestination(net.ParseAddress("8.8.8.8"), 53)
	mb[0].UDP = &d
	w.WriteMultiBuffer(mb)
	s.dump("muxcool", "xray-xudp-new-globalid")
	mb = one("other")
	d = net.UDPDestination(net.ParseAddress("2001:db8::1"), 54)
	mb[0].UDP = &d
	w.WriteMultiBuffer(mb)
	s.dump("muxcool", "xray-xudp-keep-ipv6")

	acc, _ := (&trojan.Account{Password: "password"}).AsAccount()
	tw := &trojan.ConnWriter{Writer: &s, Target: net.TCPDestination(net.ParseAddress("example.com"), 443), Account: acc.(*trojan.MemoryAccount)}
	tw.WriteMultiBuffer(one("GET"))
	s.dump("trojan", "xray-tcp-domain")
	tw = &trojan.ConnWriter{Writer: &s, Target: net.UDPDestination(net.ParseAddress("1.2.3.4"), 53), Account: acc.(*trojan.MemoryAccount)}
	pw := &trojan.PacketWriter{Writer: tw, Target: net.UDPDestination(net.ParseAddress("1.2.3.4"), 53)}
	pw.WriteMultiBuffer(one("query"))
	s.dump("trojan", "xray-udp-first-packet")
	vmessVectors(&s, id)
}
