package app

import (
	"path/filepath"

	"heki/option"
	"heki/route/geo"
)

// geoPlaces is where o has its geo files: those next to the configuration are the operator's own and win.
func geoPlaces(o *option.Options) geo.Places {
	return geo.Places{Dir: o.Route.Geo.Dir, Defaults: []string{o.Folder, filepath.Join(o.StateDir, "geo")}}
}
