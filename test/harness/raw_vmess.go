package harness

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"net"
	"strings"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/netio"
	"heki/internal/protocol/vmess"
)

// vmess is a new session to destination, and the request that opens it: AEAD, or MD5 with the last alter
// id of a user who has some.
func (r Raw) vmess(destination string) (vmess.Session, []byte, error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(r.User.UUID, "-", ""))
	if err != nil {
		return vmess.Session{}, nil, err
	}
	id, unix := vmess.UUID(raw), time.Now().Add(r.Ahead).Unix()
	dst, options := M.ParseSocksaddr(destination), vmess.OptionChunkStream|vmess.OptionChunkMasking
	s, request := vmess.NewClient(id, vmess.SecurityGCM, options).Request(vmess.CommandTCP, dst, unix, rand.Reader)
	if r.User.AlterID == 0 {
		return s, request, nil
	}
	s.Legacy, s.Padding = true, 0
	key := vmess.CmdKey(id)
	for range r.User.AlterID {
		id = vmess.AlterID(id)
	}
	var auth [vmess.AuthIDSize]byte
	vmess.NewLegacyID(id).Auth(unix, &auth)
	return s, vmess.SealLegacyRequest(nil, key, auth, unix, s.Request, nil), nil
}

// dialVMess opens a session on conn, at once: the header does not wait for the first byte.
func (r Raw) dialVMess(conn Duplex, destination string) (Duplex, error) {
	s, request, err := r.vmess(destination)
	if err == nil {
		_, err = conn.Write(request)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return vmess.NewClientConn(netio.NewConn(conn), s, nil, nil), nil
}

// FirstFlight is what a VMess client sends that has payload for destination.
func (r Raw) FirstFlight(destination string, payload []byte) ([]byte, error) {
	s, request, err := r.vmess(destination)
	if err != nil {
		return nil, err
	}
	var flight flightRecorder
	_, err = vmess.NewClientConn(netio.NewConn(&flight), s, request, nil).Write(payload)
	return flight.sent.Bytes(), err
}

// flightRecorder is a connection that keeps what is written to it, and has nothing else.
type flightRecorder struct {
	net.Conn
	sent bytes.Buffer
}

func (f *flightRecorder) Write(p []byte) (int, error) { return f.sent.Write(p) }
