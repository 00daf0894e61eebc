package vless

import (
	"net"
	"testing"

	M "github.com/sagernet/sing/common/metadata"
	"go.uber.org/goleak"

	"heki/adapter"
	"heki/constant"
	"heki/inbound/inboundtest"
	"heki/internal/protocol/vless"
	"heki/option"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func account(i int) adapter.Account {
	return adapter.Account{ID: int64(i + 1), Name: string(rune('a' + i)), UUID: [16]byte{1, 2, 3, 15: byte(i + 1)}}
}

var protocol = inboundtest.Protocol{
	Type:     constant.TypeVLESS,
	Register: Register,
	Options:  func(s option.Stream) option.InboundOptions { return &option.VLESS{Stream: s} },
	Account:  account,
	Header: func(a adapter.Account, dst net.Addr) []byte {
		return vless.AppendRequest(nil, vless.Request{UUID: a.UUID, Command: vless.CommandTCP, Destination: M.SocksaddrFromNet(dst)})
	},
	Answer: []byte{0, 0},
}

func TestConformance(t *testing.T) { inboundtest.Run(t, protocol) }
