package vmess

import (
	"crypto/rand"
	"net"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	"go.uber.org/goleak"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/inbound/inboundtest"
	"heki/internal/netio"
	"heki/internal/protocol/vmess"
	"heki/option"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func account(i int) adapter.Account {
	return adapter.Account{ID: int64(i + 1), Name: string(rune('a' + i)), UUID: [16]byte{1, 2, 3, 15: byte(i + 1)}}
}

const (
	masked = vmess.OptionChunkStream | vmess.OptionChunkMasking
	padded = masked | vmess.OptionGlobalPadding
	sealed = padded | vmess.OptionAuthenticatedLength
)

// client is how a test's client speaks.
type client struct {
	security vmess.Security
	options  vmess.Options
	command  vmess.Command
	legacy   bool
	alter    int // which alter id
	at       time.Time
}

// request is a first flight.
func (c client) request(a adapter.Account, dst M.Socksaddr) (vmess.Session, []byte) {
	req := vmess.Request{Options: c.options, Security: c.security, Padding: 5, Command: c.command, Destination: dst}
	var random [64]byte
	rand.Read(random[:])
	copy(req.Key[:], random[:16])
	copy(req.IV[:], random[16:32])
	req.Response = random[32]
	if req.Command == 0 {
		req.Command = vmess.CommandTCP
	}
	unix := time.Now().Unix()
	if !c.at.IsZero() {
		unix = c.at.Unix()
	}
	cmdKey := vmess.CmdKey(a.UUID)
	if !c.legacy {
		id := vmess.SealAuthID(vmess.NewAuthIDCipher(cmdKey), unix, [4]byte(random[33:]))
		return vmess.Session{Request: req}, vmess.SealRequest(nil, cmdKey, id, [8]byte(random[40:]), req, random[50:])
	}
	uuid := a.UUID
	for range c.alter {
		uuid = vmess.AlterID(uuid)
	}
	var id [vmess.AuthIDSize]byte
	vmess.NewLegacyID(uuid).Auth(unix, &id)
	return vmess.Session{Request: req, Legacy: true}, vmess.SealLegacyRequest(nil, cmdKey, id, unix, req, random[50:])
}

// stream is the client's end over conn.
func (c client) stream(a adapter.Account, dst net.Addr, conn inboundtest.Conn) inboundtest.Conn {
	s, first := c.request(a, M.SocksaddrFromNet(dst))
	return vmess.NewClientConn(netio.NewConn(conn), s, first, netio.Pool{})
}

// protocol is for the conformance suite, with clients that speak as c.
func (c client) protocol(o option.VMess, alterID int) inboundtest.Protocol {
	return inboundtest.Protocol{
		Type:     constant.TypeVMess,
		Register: func(r *inbound.Registry) { Register(r, NewMemory()) },
		Options: func(s option.Stream) option.InboundOptions {
			o := o
			o.Stream = s
			return &o
		},
		Account: func(i int) adapter.Account {
			a := account(i)
			a.AlterID = alterID
			return a
		},
		Header: func(a adapter.Account, dst net.Addr) []byte {
			_, first := c.request(a, M.SocksaddrFromNet(dst))
			return first
		},
		Stream: c.stream,
	}
}

func TestConformance(t *testing.T) {
	t.Run("aead", func(t *testing.T) {
		inboundtest.Run(t, client{security: vmess.SecurityGCM, options: padded}.protocol(option.VMess{}, 0))
	})
	t.Run("md5", func(t *testing.T) {
		inboundtest.Run(t, client{security: vmess.SecurityGCM, options: masked, legacy: true, alter: 3}.protocol(option.VMess{}, 4))
	})
	for name, p := range map[string]inboundtest.Protocol{
		"chacha":       client{security: vmess.SecurityChaCha, options: sealed}.protocol(option.VMess{ForceAEAD: true}, 4),
		"none":         client{security: vmess.SecurityNone, options: masked}.protocol(option.VMess{}, 0),
		"zero":         client{security: vmess.SecurityNone}.protocol(option.VMess{}, 0),
		"cfb":          client{security: vmess.SecurityLegacy, options: padded}.protocol(option.VMess{}, 0),
		"md5 cfb":      client{security: vmess.SecurityLegacy, options: vmess.OptionChunkStream, legacy: true}.protocol(option.VMess{ForceLegacy: true}, 0),
		"md5 cfb bare": client{security: vmess.SecurityLegacy, legacy: true, alter: 1}.protocol(option.VMess{Legacy: true}, 1),
	} {
		t.Run(name, func(t *testing.T) { inboundtest.RunBody(t, p) })
	}
}
