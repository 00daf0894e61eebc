package adapter

import (
	"context"
	"errors"
	"net/netip"
)

// ErrLimited is wrapped by every refusal of Meter.Open. Its text tells the operator which limit it was.
var ErrLimited = errors.New("limit reached")

// ErrRemoved is the cause of what ends because its account went away or has another credential now:
// refusals of Meter.Open, which wrap ErrLimited too, and connections that were cut.
var ErrRemoved = errors.New("removed or its credential replaced")

// Account is what a panel or the config says about one user.
// It is comparable on purpose: a sync finds changes with ==.
type Account struct {
	ID         int64  // panel id, reported back; 0 for static users
	Name       string // unique per inbound; what logs and rules say
	UUID       [16]byte
	Password   string
	Flow       string // VLESS: "" or "xtls-rprx-vision"
	Seed       Seed   // VLESS: how Vision pads; zero: as usual
	Port       uint16 // ssr and ss multi-port nodes only
	SpeedBytes int64  // bytes per second each way; 0 is unlimited
	ConnLimit  int    // open connections at once; 0 is unlimited
	IPLimit    int    // source addresses at once; 0 is unlimited
	AlterID    int    // VMess: above 0 for clients that authenticate the MD5 way
	SSR        SSR    // ShadowsocksR: what the user's row says
}

// Seed is four lengths in bytes: see vision.Seed.
type Seed [4]uint16

// SSR is what a panel knows of a ShadowsocksR user beside the password. With a Port it is how that port
// speaks; the user's host is made of it on ports that tell users apart by host.
type SSR struct {
	Method, Protocol, ProtocolParam, Obfs, ObfsParam string
}

// User pairs an account with its meter and never changes. A sync that alters the account publishes
// a new User around the same Meter, so counters, buckets and open connections follow.
type User struct {
	Account
	Meter Meter // nil: neither counted nor limited
}

// Meter counts, paces and limits one account across all its connections.
type Meter interface {
	// Open waits out the account's pacing debt (at most 2 s), then admits a connection from source
	// or returns an error wrapping ErrLimited. kill is called at most once, when the account goes
	// away; it must not block. It may run before Open returns.
	Open(ctx context.Context, source netip.Addr, kill func()) (Lease, error)
}

// DeviceMeter is a Meter that can leave the counting of devices to a protocol that knows them.
type DeviceMeter interface {
	Meter
	// OpenDevice is Open without the limit of source addresses.
	OpenDevice(ctx context.Context, source netip.Addr, kill func()) (Lease, error)
}

// Lease is one admitted connection. Up and Down are called from one goroutine each, after n bytes
// went towards the remote or the client. They may sleep to pace, and wake when the lease is closed
// or killed.
type Lease interface {
	Up(n int64)
	Down(n int64)
	// Paced says whether the account has a speed limit now: such a connection is copied in small
	// chunks and never spliced, so that parallel connections share the limit.
	Paced() bool
	Close()
}
