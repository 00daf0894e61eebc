package vless

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"
	"go.uber.org/goleak"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/inbound/inboundtest"
	"heki/internal/netio"
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

// logged runs the inbound's authentication of a request and returns the log.
func logged(t *testing.T, req vless.Request, users ...*adapter.User) (string, error) {
	t.Helper()
	var log bytes.Buffer
	in := &Inbound{log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := in.SwapUsers(users); err != nil {
		t.Fatal(err)
	}
	_, _, err := in.authenticate(vless.AppendRequest(nil, req), netio.NewConn(nil), new(adapter.Metadata))
	return log.String(), err
}

func TestFlowThatTheUserLacks(t *testing.T) {
	alice := &adapter.User{Account: account(0)}
	req := vless.Request{UUID: alice.UUID, Flow: vless.FlowVision, Command: vless.CommandTCP, Destination: M.ParseSocksaddr("192.0.2.1:80")}
	log, err := logged(t, req, alice)
	if !errors.Is(err, inbound.ErrBadFlow) || !strings.Contains(log, "user=a") || !strings.Contains(log, vless.FlowVision) {
		t.Errorf("err = %v, log = %q", err, log)
	}
	req.UUID[15] = 99 // a stranger must not fill the log
	if log, err := logged(t, req, alice); !errors.Is(err, inbound.ErrUnknownUser) || log != "" {
		t.Errorf("err = %v, log = %q", err, log)
	}
}

func TestRouteBytesOfTheUUIDAreFree(t *testing.T) {
	alice := &adapter.User{Account: account(0)}
	req := vless.Request{UUID: alice.UUID, Command: vless.CommandTCP, Destination: M.ParseSocksaddr("192.0.2.1:80")}
	req.UUID[6], req.UUID[7] = 0x12, 0x34
	if _, err := logged(t, req, alice); err != nil {
		t.Error(err)
	}
}

func TestSwapNamesTheUser(t *testing.T) {
	in := new(Inbound)
	for want, a := range map[string]adapter.Account{
		"has no uuid": {Name: "alice"},
		"has flow":    {Name: "alice", UUID: [16]byte{1}, Flow: "xtls-rprx-direct"},
	} {
		err := in.SwapUsers([]*adapter.User{{Account: a}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "alice") {
			t.Errorf("err = %v, want %q and the name", err, want)
		}
	}
}
