package main

import (
	"bytes"
	"context"

	"github.com/xtls/xray-core/common/bitmask"
	"github.com/xtls/xray-core/common/buf"
	"github.com/xtls/xray-core/common/net"
	"github.com/xtls/xray-core/common/protocol"
	"github.com/xtls/xray-core/common/uuid"
	"github.com/xtls/xray-core/proxy/vmess"
	"github.com/xtls/xray-core/proxy/vmess/encoding"
)

// vmessVectors prints what a client sends, and what a server answers it.
func vmessVectors(s *sink, id uuid.UUID) {
	user := &protocol.MemoryUser{Account: &vmess.MemoryAccount{ID: protocol.NewID(id)}}
	const plain = protocol.RequestOptionChunkStream
	const masked = plain | protocol.RequestOptionChunkMasking
	const padded = masked | protocol.RequestOptionGlobalPadding
	for _, v := range []struct {
		name     string
		security protocol.SecurityType
		option   bitmask.Byte
		command  protocol.RequestCommand
	}{
		{"gcm", protocol.SecurityType_AES128_GCM, padded, protocol.RequestCommandTCP},
		{"gcm-authlen", protocol.SecurityType_AES128_GCM, padded | protocol.RequestOptionAuthenticatedLength, protocol.RequestCommandTCP},
		{"chacha", protocol.SecurityType_CHACHA20_POLY1305, masked, protocol.RequestCommandTCP},
		{"chacha-authlen", protocol.SecurityType_CHACHA20_POLY1305, padded | protocol.RequestOptionAuthenticatedLength, protocol.RequestCommandTCP},
		{"none", protocol.SecurityType_NONE, padded, protocol.RequestCommandTCP},
		{"zero", protocol.SecurityType_NONE, 0, protocol.RequestCommandTCP},
		{"none-udp", protocol.SecurityType_NONE, padded, protocol.RequestCommandUDP},
		{"gcm-udp", protocol.SecurityType_AES128_GCM, padded, protocol.RequestCommandUDP},
		{"gcm-mux", protocol.SecurityType_AES128_GCM, padded, protocol.RequestCommandMux},
	} {
		h := &protocol.RequestHeader{
			Version: 1, User: user, Command: v.command, Security: v.security, Option: v.option,
			Address: net.ParseAddress("example.com"), Port: 443,
		}
		client := encoding.NewClientSession(context.Background(), 1)
		must(client.EncodeRequestHeader(h, s))
		w, err := client.EncodeRequestBody(h, s)
		must(err)
		must(w.WriteMultiBuffer(one("hello")))
		must(w.WriteMultiBuffer(one("more")))
		if v.option != 0 {
			must(w.WriteMultiBuffer(buf.MultiBuffer{}))
		}
		first := bytes.Clone(s.Bytes())
		s.dump("vmess", "xray-"+v.name+"-request")

		validator := vmess.NewTimedUserValidator()
		must(validator.Add(user))
		server := encoding.NewServerSession(validator, encoding.NewSessionHistory())
		got, err := server.DecodeRequestHeader(bytes.NewReader(first), false)
		must(err)
		server.EncodeResponseHeader(&protocol.ResponseHeader{}, s)
		w, err = server.EncodeResponseBody(got, s)
		must(err)
		must(w.WriteMultiBuffer(one("answer")))
		if v.option != 0 {
			must(w.WriteMultiBuffer(buf.MultiBuffer{}))
		}
		s.dump("vmess", "xray-"+v.name+"-response")
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
