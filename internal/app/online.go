package app

import (
	"context"

	"heki/option"
	"heki/panel"
	"heki/transport/reality"
)

// CheckOnline asks the servers that a right configuration names whether they are what it takes them
// for, and returns what speaks against that: the targets of REALITY, and the panels of machines. Each error
// has its place. The targets of panels' nodes are not known here.
func CheckOnline(ctx context.Context, o *option.Options) []error {
	var all []error
	for i, in := range o.Inbounds {
		stream, ok := in.Options.(interface{ TLSOptions() *option.TLS })
		if !ok || !stream.TLSOptions().HasReality() {
			continue
		}
		place := option.Path("inbounds").Index(i).Key("tls").Key("reality")
		for _, err := range reality.Probe(ctx, stream.TLSOptions()) {
			all = append(all, place.Errorf("%w", err))
		}
	}
	for i := range o.Panels {
		if o.Panels[i].MachineID == 0 {
			continue
		}
		for _, err := range panel.AskMachine(ctx, panelKinds(), &o.Panels[i]) {
			all = append(all, option.Path("panels").Index(i).Errorf("%w", err))
		}
	}
	return all
}
