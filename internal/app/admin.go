package app

import (
	"reflect"
	"slices"
	"strings"

	"heki/internal/admin"
	"heki/option"
)

// startAdmin starts the operator's web server, if o wants one.
func (a *App) startAdmin(o *option.Options) error {
	if o.Admin == nil {
		return nil
	}
	server, err := admin.Start(o.Admin, a.state, a.log)
	if err != nil {
		return err
	}
	a.admin = server
	a.log.Info("admin server", "listen", server.Addr().String())
	return nil
}

func (a *App) stopAdmin() error {
	if a.admin == nil {
		return nil
	}
	err := a.admin.Close()
	a.admin = nil
	return err
}

// reloadAdmin follows a change of the file. Scrapes on the way are cut.
func (a *App) reloadAdmin(o *option.Options) error {
	if reflect.DeepEqual(a.options.Admin, o.Admin) {
		return nil
	}
	if err := a.stopAdmin(); err != nil {
		a.log.Warn("the admin server did not end in order", "err", err)
	}
	return a.startAdmin(o)
}

// state is what the admin server tells. Its end waits a second for an answer that waits for a.mu here.
func (a *App) state() admin.State {
	st := admin.State{Started: a.started, Offset: a.panels.Offset(), Nodes: a.panels.Status()}
	a.mu.Lock()
	defer a.mu.Unlock()
	for tag, s := range a.static {
		st.Inbounds = append(st.Inbounds, admin.Inbound{Tag: tag, Stats: s.node.Stats()})
	}
	slices.SortFunc(st.Inbounds, func(x, y admin.Inbound) int { return strings.Compare(x.Tag, y.Tag) })
	return st
}
