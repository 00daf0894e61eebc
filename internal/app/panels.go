package app

import (
	"cmp"
	"errors"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/internal/meter"
	"heki/option"
	"heki/panel"
	"heki/panel/detect"
	"heki/panel/local"
	"heki/panel/machine"
	"heki/panel/ppanel"
	"heki/panel/sspanel"
	"heki/panel/v2board"
	"heki/panel/xboard"
	"heki/route"
)

// panelKinds is the list of the panels that heki speaks to.
func panelKinds() map[string]panel.Kind {
	kinds := map[string]panel.Kind{
		constant.PanelXBoard:      xboard.Kind(),
		constant.PanelV2board:     v2board.Kind(),
		constant.PanelXiaoV2board: v2board.XiaoKind(),
		constant.PanelSSPanel:     sspanel.Kind(),
		constant.PanelPPanel:      ppanel.Kind(),
		constant.PanelLocal:       local.Kind(),
	}
	kinds[""] = detect.Kind(kinds)
	return kinds
}

func (a *App) buildPanels(o *option.Options) (*panel.Service, error) {
	a.own = newNodeOutbounds(a.outboundEnv())
	service, err := panel.New(panel.Config{
		Options:  o.Panels,
		Limits:   o.Limits,
		Traffic:  o.Traffic,
		StateDir: o.StateDir,
		Kinds:    panelKinds(),
		Host:     host{a.inbounds, a.router, a.resolver, a.own},
		Ledger:   a.ledger,
		Log:      a.log,
		Machine:  machine.New(cmp.Or(o.StateDir, "/")),
	})
	if err != nil {
		return nil, err
	}
	a.router.OnHit(func(md *adapter.Metadata, id int64) {
		if md.User != nil {
			service.Hit(md.Inbound, md.User.ID, id)
		}
	})
	return service, nil
}

// host is what panels may do.
type host struct {
	inbounds *inbound.Manager
	router   *route.Router
	resolver *resolver
	own      *nodeOutbounds
}

// Replace implements panel.Host. What a panel says is checked like what an operator writes.
func (h host) Replace(in option.Inbound, users []*adapter.User) (adapter.UserManager, error) {
	if err := in.Options.Validate(option.Path(in.Tag)); err != nil {
		return nil, err
	}
	return h.inbounds.Replace(in, users)
}

// Remove implements panel.Host.
func (h host) Remove(tag string) error {
	err := h.inbounds.Remove(tag) // first, so that nobody connects without the rules
	return errors.Join(err, h.SetRouting(tag, panel.Routing{}))
}

// Stats sums the figures of all nodes.
func (a *App) Stats() meter.Stats {
	var sum meter.Stats
	add := func(s meter.Stats) {
		sum.Users += s.Users
		sum.Online += s.Online
		sum.Conns += s.Conns
		sum.Up += s.Up
		sum.Down += s.Down
	}
	for _, s := range a.panels.Status() {
		add(s.Stats)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.static {
		add(s.node.Stats())
	}
	return sum
}
