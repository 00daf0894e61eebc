package main

import (
	"fmt"

	mux "github.com/sagernet/sing-mux"
	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
)

func singmuxVectors() {
	hello := func(name string, r mux.Request) {
		fmt.Printf("singmux %s %x\n", name, mux.EncodeRequest(r, nil).Bytes())
	}
	hello("sing-hello-smux", mux.Request{Protocol: mux.ProtocolSmux})
	hello("sing-hello-h2mux", mux.Request{Protocol: mux.ProtocolH2Mux})
	hello("sing-hello-yamux-padded", mux.Request{Version: mux.Version1, Protocol: mux.ProtocolYAMux, Padding: true})
	stream := func(name string, r mux.StreamRequest) {
		b := buf.NewSize(300)
		if err := mux.EncodeStreamRequest(r, b); err != nil {
			panic(err)
		}
		fmt.Printf("singmux %s %x\n", name, b.Bytes())
	}
	stream("sing-stream-tcp-domain", mux.StreamRequest{Network: "tcp", Destination: M.ParseSocksaddr("example.com:443")})
	stream("sing-stream-udp-ipv6", mux.StreamRequest{Network: "udp", Destination: M.ParseSocksaddr("[2001:db8::1]:53")})
	stream("sing-stream-udp-addr", mux.StreamRequest{Network: "udp", PacketAddr: true})
}
