// Package panel keeps the nodes of subscription panels in step: it pulls settings and users, hands
// them to the host, and reports traffic and online addresses. It never touches a connection.
package panel

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"heki/adapter"
	"heki/internal/meter"
	"heki/option"
	"heki/panel/machine"
)

// Client speaks one panel's API for one node. All calls are made by one goroutine.
// Every error of a call that reached for the network wraps an *Error.
type Client interface {
	// Node returns the node's settings, or ErrNotModified when they are those of the last answer.
	Node(ctx context.Context) (*Node, error)
	// Users returns the whole user set, or ErrNotModified likewise. Ids are unique. The slice is
	// the caller's.
	Users(ctx context.Context) ([]adapter.Account, error)
	// ReportTraffic sends raw bytes of at most MaxReport users; the panel multiplies by its rate.
	// The class of the error says whether the panel may have billed them: see Settle.
	ReportTraffic(ctx context.Context, users []meter.Traffic) error
	// ReportOnline sends the whole set of users that are online now. A user who is not in it is
	// offline.
	ReportOnline(ctx context.Context, online []meter.Online) error
}

// Brittle is implemented by clients of panels that break off a traffic report at a user who is gone,
// having billed those before. Users whom the panel may not know are reported last and one by one.
type Brittle interface {
	// Knows tells whether the panel's last list had the user.
	Knows(id int64) bool
}

// DeviceCounter is implemented by clients of panels that count the addresses of a user over all nodes.
type DeviceCounter interface {
	// Devices returns the counts by user id; users who are left out have none. It is nil without an error
	// when this panel does not count.
	Devices(ctx context.Context) (map[int64]int, error)
}

// RuleSource is implemented by clients of panels that have block rules beside those of a node.
type RuleSource interface {
	// Rules returns all of them, or ErrNotModified.
	Rules(ctx context.Context) ([]Rule, error)
}

// Hit is a user who met a rule.
type Hit struct{ User, Rule int64 }

// AuditReporter is implemented by clients of panels that want to know who met their rules.
type AuditReporter interface {
	// ReportAudit sends hits of at most MaxReport entries, each pair once.
	ReportAudit(ctx context.Context, hits []Hit) error
}

// ErrNoPush is returned by Watch when the panel does not tell.
var ErrNoPush = errors.New("the panel does not push")

// Watcher is implemented by clients of panels that tell at once when something has changed.
type Watcher interface {
	// Watch calls tell each time the panel says that something has, until the connection or ctx ends.
	// It is called from a goroutine of its own, beside the other calls.
	Watch(ctx context.Context, tell func(News)) error
}

// News is what a panel tells of its own accord.
type News struct {
	Node  int64  // on a machine's connection: the node that it is about, 0: the list of nodes
	Users *Delta // nil: ask again
}

// Delta is a change of single users.
type Delta struct {
	Removed []int64
	Changed []byte // rows of those who are new or other than before, as the panel writes them; nil: none
}

// DeltaReader is implemented by clients of panels that tell of single users.
type DeltaReader interface {
	// Changed reads the rows of d. The next call of Users returns the whole set, also when the panel's
	// own is that of the call before: what was told is not in it.
	Changed(d Delta) ([]adapter.Account, error)
}

// StatusReporter is implemented by clients of panels that show the machine's state.
type StatusReporter interface {
	ReportStatus(ctx context.Context, s machine.State) error
}

// Report is what a Merger tells in one call.
type Report struct {
	Traffic []meter.Traffic // of at most MaxReport users; the bytes are those of Client.ReportTraffic
	Online  []meter.Online  // the whole set, as for Client.ReportOnline
	State   *machine.State  // nil: not measured
	Metrics Metrics
}

// Metrics are a node's figures at one moment.
type Metrics struct {
	Uptime     time.Duration // of this process
	Goroutines int           // of this process
	Conns      int           // open connections
	Opened     int64         // connections since the start, open ones included
	Users      int           // who may connect
	Online     int           // who are connected
	InSpeed    float64       // bytes per second from users since the report before
	OutSpeed   float64       // bytes per second to users since the report before
	Load       [3]float64    // of the machine
	Serving    bool
}

// ErrSeparate is wrapped by Merger.Report when the panel takes no merged reports. Nothing was booked.
var ErrSeparate = errors.New("the panel takes no merged reports")

// Merger is implemented by clients of panels that take traffic and all else of a report in one call.
type Merger interface {
	// Report sends r. The class of the error says of r.Traffic what that of ReportTraffic says.
	Report(ctx context.Context, r *Report) error
}

// Machine speaks the API of a panel that hands nodes to machines: what concerns none of them alone. Its
// calls are made by one goroutine, but for Watch. Errors are those of a Client.
type Machine interface {
	Watcher
	// Nodes lists the nodes of the machine. Ids are unique, and there are at most MaxNodes.
	Nodes(ctx context.Context) (*MachineNodes, error)
	// ReportMachine tells how the machine does.
	ReportMachine(ctx context.Context, s machine.State) error
}

// MachineNodes is a panel's answer about a machine.
type MachineNodes struct {
	Nodes []MachineNode
	Pull  time.Duration // the panel's wish; 0 is none
	Push  time.Duration
}

// MachineNode is one node of a machine, as the panel lists it.
type MachineNode struct {
	ID   int64  `json:"id"`
	Type string `json:"type,omitempty"` // the panel's word
	Name string `json:"name,omitempty"`
}

// MaxNodes bounds the nodes of a machine.
const MaxNodes = 1000

// Detector is implemented by the client of a panel whose type the configuration does not say.
type Detector interface {
	Client
	// Detect asks the panel and returns the client that takes this one's place.
	Detect(ctx context.Context) (Client, error)
}

// MaxReport is the number of users in one ReportTraffic call. PHP refuses bodies above
// post_max_size (8 MB by default) and a small call is soon settled.
const MaxReport = 1000

// Kind is one panel type as internal/app knows it.
type Kind struct {
	// New makes the client of one node. It must not use the network.
	New func(env Env, o *option.Panel, node *option.PanelNode) (Client, error)
	// Nodes lists the nodes of a panel entry that names none; nil where the panel cannot tell.
	Nodes func(o *option.Panel) ([]option.PanelNode, error)
	// Machine makes the client of the machine of a panel entry that has a machine_id, whose nodes the
	// panel lists while heki runs; nil where the panel has no machines. It must not use the network.
	Machine func(env Env, o *option.Panel) (Machine, error)
}

// Env is what the service lends to a client.
type Env struct {
	Tag  string           // of the node
	Dir  string           // state_dir/<panel type>; made by the client that needs it
	HTTP *http.Client     // shared by the nodes of a panel; follows no redirects, has few connections
	Long *http.Client     // the same for connections that stay open
	Now  func() time.Time // wall clock
	// Say logs for the operator; panel and node are put in front.
	Say func(level slog.Level, format string, args ...any)
	// Clock takes how far the panel's clock was ahead of ours, and the round trip of that answer.
	Clock func(ahead, rtt time.Duration)
}

// Host serves what panels hand out. It is called from several goroutines, one at a time for a tag.
type Host interface {
	// Replace builds and validates in, takes over the listener of the inbound with the same tag
	// if there is one, and retires that. On error the old one keeps serving.
	Replace(in option.Inbound, users []*adapter.User) (adapter.UserManager, error)
	// Remove closes the inbound and its connections.
	Remove(tag string) error
	// SetRouting makes r what rules the connections of the inbound, which need not be there yet. What cannot
	// be understood or built is named in the error; the rest applies, and rules whose outbound is missing
	// close what they match. The host tells Service.Hit who met a rule that blocks. r is not changed.
	SetRouting(tag string, r Routing) error
}
