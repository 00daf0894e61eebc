package app

import (
	"log/slog"
	"path/filepath"
	"slices"

	"heki/option"
	"heki/transport/acme"
	"heki/transport/acme/provider"
)

// newCertificates has the certificates that heki gets or makes itself. It writes nothing before an inbound
// that wants one starts.
func newCertificates(o *option.Options, log *slog.Logger) *acme.Manager {
	return acme.New(acme.Config{Dir: filepath.Join(o.StateDir, "acme"), Log: log, Providers: provider.NewTable()})
}

// keepsState says whether o needs state_dir.
func keepsState(o *option.Options) bool {
	return len(o.Panels) > 0 || slices.ContainsFunc(o.Inbounds, func(in option.Inbound) bool {
		s, ok := in.Options.(interface{ TLSOptions() *option.TLS })
		if !ok {
			return false
		}
		t := s.TLSOptions()
		return t != nil && t.Enabled && (t.ACME != nil || t.SelfSigned)
	})
}
