package option

import "path/filepath"

// Geo says where the files of geosite: and geoip: lines are.
type Geo struct {
	Dir string `json:"dir,omitempty"` // default: the configuration's own folder, then state_dir/geo
}

// Validate wants a folder that does not depend on where heki is started.
func (g *Geo) Validate(at Path) error {
	var r report
	if g.Dir != "" && !filepath.IsAbs(g.Dir) {
		r.add(at.Key("dir"), "is %q, must be an absolute path such as %s", short(g.Dir), DefaultStateDir+"/geo")
	}
	return r.err()
}

var refusedGeo = map[string]refusal{
	"update": {text: "is not served by this version; replace the files and send SIGHUP", off: "off"},
}
