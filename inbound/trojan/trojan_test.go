package trojan

import (
	"net"
	"strconv"
	"testing"

	M "github.com/sagernet/sing/common/metadata"
	"go.uber.org/goleak"

	"heki/adapter"
	"heki/constant"
	"heki/inbound/inboundtest"
	"heki/internal/protocol/trojan"
	"heki/option"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func account(i int) adapter.Account {
	return adapter.Account{ID: int64(i + 1), Name: strconv.Itoa(i), Password: "password " + strconv.Itoa(i)}
}

var protocol = inboundtest.Protocol{
	Type:     constant.TypeTrojan,
	Register: Register,
	Options:  func(s option.Stream) option.InboundOptions { return &option.Trojan{Stream: s} },
	Account:  account,
	Header: func(a adapter.Account, dst net.Addr) []byte {
		return trojan.AppendRequest(nil, trojan.Request{Key: trojan.KeyOf(a.Password), Command: trojan.CommandTCP, Destination: M.SocksaddrFromNet(dst)})
	},
}

func TestConformance(t *testing.T) { inboundtest.Run(t, protocol) }
