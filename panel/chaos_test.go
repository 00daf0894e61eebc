package panel_test

import (
	"math/rand/v2"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"heki/internal/meter"
	"heki/option"
	"heki/panel"
	"heki/panel/detect"
	"heki/panel/paneltest"
	"heki/panel/ppanel"
	"heki/panel/sspanel"
	"heki/panel/v2board"
	"heki/panel/xboard"
)

// The chaos: so many nodes of each of five panels, for so long on the fake clock.
const (
	chaosNodes = 5
	chaosUsers = 12
	chaosFor   = 40 * time.Minute
	chaosStep  = 13 * time.Second

	chaosMachine = 3 // the XBoard's
)

// mesh carries requests to panels by host name.
type mesh map[string]*paneltest.Wire

func (m mesh) RoundTrip(req *http.Request) (*http.Response, error) {
	return m[req.URL.Host].RoundTrip(req)
}

// chaos is a service with five panels of five kinds.
type chaos struct {
	*bench
	wires mesh
	rng   *rand.Rand
	moved map[string]int64 // by panel
}

func newChaos(t *testing.T) *chaos {
	c := &chaos{bench: newBench(t, 0), wires: make(mesh), rng: rand.New(rand.NewPCG(3, 4)), moved: make(map[string]int64)}
	kinds := map[string]panel.Kind{
		"xboard": xboard.Kind(), "v2board": v2board.Kind(), "xiaov2board": v2board.XiaoKind(), "sspanel": sspanel.Kind(),
		"ppanel": ppanel.Kind(),
	}
	kinds[""] = detect.Kind(kinds)
	c.cfg.Kinds, c.cfg.HTTP, c.cfg.Options = kinds, c.wires, nil
	for name, p := range map[string]*paneltest.Panel{
		"xboard": paneltest.New(token), "v2board": paneltest.NewV2board(token), "xiaov2board": paneltest.NewXiaoV2board(token),
		"sspanel": paneltest.NewSSPanel(token, false), "ppanel": paneltest.NewPPanel(token),
	} {
		c.wires[name] = &paneltest.Wire{Panel: p}
		o := option.Panel{
			Name: name, Type: name, URL: "http://" + name, Key: token, Timeout: option.Duration(15 * time.Second),
			SyncInterval: option.Duration(20 * time.Second), ReportInterval: option.Duration(20 * time.Second),
		}
		if name == "xboard" { // a machine, whose nodes come and go, and merged reports
			p.SetMachine(paneltest.Machine{ID: chaosMachine, Token: machineKey})
			o.MachineID, o.Key, o.APIVersion = chaosMachine, machineKey, 2
		}
		if name == "sspanel" {
			o.Type = "" // and one whose type must be found out in the middle of it
		}
		for id := 1; id <= chaosNodes; id++ {
			p.SetNode(chaosNode(name, id, 443))
			node := option.PanelNode{ID: int64(id)}
			if name != "xboard" && name != "sspanel" {
				node.Type = "trojan"
			}
			if o.MachineID == 0 {
				o.Nodes = append(o.Nodes, node)
			}
		}
		for id := 1; id <= chaosUsers; id++ {
			p.SetUser(paneltest.User{ID: id})
		}
		c.cfg.Options = append(c.cfg.Options, o)
	}
	return c
}

// disturb makes something go wrong on one panel.
func (c *chaos) disturb(name string) {
	faults := []paneltest.Fault{
		paneltest.Reset(true), paneltest.Reset(false), paneltest.Hang(true), paneltest.Hang(false), paneltest.BadGateway(),
		paneltest.ServerError(true), paneltest.ServerError(false), paneltest.CutBody(), paneltest.Garbage(), paneltest.Failure(),
		paneltest.TooMany(time.Second), paneltest.Forbidden(), paneltest.NotModified(), paneltest.Slow(time.Second), paneltest.EmptyUsers(),
	}
	p, wire := c.wires[name].Panel, c.wires[name]
	calls := []paneltest.Call{paneltest.PushCall, paneltest.PushCall, paneltest.Config, paneltest.Users, paneltest.AliveCall, paneltest.AliveList}
	if name == "xboard" {
		calls = append(calls, paneltest.Report, paneltest.Report, paneltest.Report, paneltest.MachineNodes)
		faults = append(faults, paneltest.OldShape(), paneltest.NoNodes())
	}
	if name == "ppanel" {
		faults = append(faults, paneltest.CodeFailure(), paneltest.CodeFailure())
	}
	p.Fail(calls[c.rng.IntN(len(calls))], faults[c.rng.IntN(len(faults))], 1+c.rng.IntN(3))
	id := 1 + c.rng.IntN(chaosUsers)
	switch c.rng.IntN(12) {
	case 0:
		p.Rekey(id)
	case 1:
		p.RemoveUser(id)
	case 2, 3:
		p.SetUser(paneltest.User{ID: id, DeviceLimit: c.rng.IntN(3)})
	case 4:
		wire.SetDown(true)
	case 5, 6, 7:
		wire.SetDown(false)
	case 8:
		p.SetNode(chaosNode(name, 1+c.rng.IntN(chaosNodes), 1000+c.rng.IntN(9)))
	case 9, 10:
		row := chaosNode(name, 1+c.rng.IntN(chaosNodes), 443)
		row.Disabled = c.rng.IntN(2) == 0 // matters to a machine, and to PPanel
		p.SetNode(row)
	}
}

// chaosNode is a node's row on the panel.
func chaosNode(panel string, id, port int) paneltest.Node {
	row := paneltest.Node{ID: id, Protocol: "trojan", Port: port}
	if panel == "xboard" {
		row.Machine = chaosMachine
	}
	return row
}

// move counts random bytes for some users of every node.
func (c *chaos) move() {
	for _, st := range c.s.Status() {
		for _, u := range c.host.users(st.Tag) {
			if c.rng.IntN(3) > 0 {
				continue
			}
			l, err := u.Meter.Open(c.t.Context(), netip.MustParseAddr("192.0.2.1"), nil)
			if err != nil {
				continue
			}
			n := c.rng.Int64N(1 << 20)
			l.Up(n)
			l.Close()
			c.moved[st.Panel] += n
		}
	}
}

// TestChaos: twenty-five nodes of five panels among faults of every kind and restarts. In the end no byte is lost
// or doubled beyond what the panels left in doubt, and every node serves exactly the panel's users.
func TestChaos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChaos(t)
		c.start()
		defer func() { c.stop() }()
		names := []string{"ppanel", "sspanel", "v2board", "xboard", "xiaov2board"}
		for range int(chaosFor / chaosStep) {
			c.move()
			for _, name := range names {
				if c.rng.IntN(3) == 0 {
					c.disturb(name)
				}
			}
			c.pass(chaosStep)
			if c.rng.IntN(40) == 0 {
				c.stop()
				c.start()
			}
		}
		for _, w := range c.wires {
			w.SetDown(false)
			w.Panel.Heal()
		}
		for id := 1; id <= chaosNodes; id++ {
			c.wires["xboard"].Panel.SetNode(chaosNode("xboard", id, 443))
			c.wires["ppanel"].Panel.SetNode(chaosNode("ppanel", id, 443))
		}
		c.pass(30 * time.Minute)
		for _, name := range names {
			c.balance(t, name)
			c.served(t, name)
		}
	})
}

// balance compares what moved with what the panel booked and what is held in doubt.
func (c *chaos) balance(t *testing.T, name string) {
	t.Helper()
	p := c.wires[name].Panel
	total := p.Total()
	var held, waiting, doubtful int64
	for _, st := range c.s.Status() {
		if st.Panel == name {
			held += st.HeldBytes
			waiting += st.BacklogBytes
		}
	}
	for _, push := range p.Pushes() {
		if push.Fault == "" || push.Fault == "slow" || push.Fault == "empty users" || push.Fault == "no nodes" {
			continue
		}
		for _, u := range push.Users {
			doubtful += u.Up + u.Down
		}
	}
	billed := total.Up + total.Down
	if never := c.moved[name] - billed; never < 0 || waiting != 0 || held != never+doubtful {
		t.Errorf("%s: moved %d, billed %d (%d in doubt), held %d, waiting %d", name, c.moved[name], billed, doubtful, held, waiting)
	}
	t.Logf("%s: %d pushes, %d merged, moved %d, billed %d, held %d", name, p.Requests(paneltest.PushCall), p.Requests(paneltest.Report), c.moved[name], billed, held)
}

// served compares the users of every node with the panel's.
func (c *chaos) served(t *testing.T, name string) {
	t.Helper()
	for id := int64(1); id <= chaosNodes; id++ {
		users := c.host.users(panel.Tag(name, id))
		rows := c.wires[name].Panel.Users()
		if len(users) != len(rows) {
			t.Errorf("%s node %d serves %d users, the panel has %d", name, id, len(users), len(rows))
		}
		for _, row := range rows {
			if u := users[int64(row.ID)]; u == nil || u.Password != row.UUID {
				t.Errorf("%s node %d: user %d is not the panel's", name, id, row.ID)
			}
		}
	}
}

// TestKilled: a process that is killed between journal and send leaves exactly the journal to its successor.
func TestKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.start()
		b.move(tag1, 1, 700, 77)
		n := b.cfg.Ledger.Node(tag1, "panel/main")
		o, err := meter.OpenOutbox(meter.Dir(b.cfg.StateDir, "killed"), n)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, err := o.Next(meter.Portion{}); !ok || err != nil { // journalled as being sent, and never sent
			t.Fatal(ok, err)
		}
		b.stop()
		left, err := meter.ReadBacklogs(b.cfg.StateDir)
		if err != nil || len(left) != 1 || len(left[0].Sent) != 1 || left[0].Sent[0].Bytes() != 777 {
			t.Fatalf("left = %+v, %v", left, err)
		}
		again, err := meter.OpenOutbox(meter.Dir(b.cfg.StateDir, "killed"), meter.NewLedger().Node(tag1, "panel/main"))
		if err != nil {
			t.Fatal(err)
		}
		if old, err := again.Recover(meter.Retry); err != nil || len(old) != 1 {
			t.Fatal(old, err)
		}
		if batch, ok, err := again.Next(meter.Portion{}); !ok || err != nil || batch.Bytes() != 777 {
			t.Errorf("%+v, %t, %v", batch, ok, err)
		}
	})
}
