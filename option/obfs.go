package option

import "strings"

// Obfs is simple-obfs before a Shadowsocks stream.
type Obfs struct {
	Type string           `json:"type"`           // http
	Mode string           `json:"mode,omitempty"` // relaxed (default), strict, strict_path, strict_host
	Host Listable[string] `json:"host,omitempty"` // that clients must name in modes strict and strict_host
	Path string           `json:"path,omitempty"` // that clients must ask for in modes strict and strict_path; default /
}

// ObfsHTTP is the one value of obfs.type.
const ObfsHTTP = "http"

// Values of obfs.mode.
const (
	ObfsRelaxed    = "relaxed"     // any host and path
	ObfsStrict     = "strict"      // host and path must be right
	ObfsStrictPath = "strict_path" // the path must
	ObfsStrictHost = "strict_host" // the host must
)

// Validate fills defaults and reports every mistake at once.
func (o *Obfs) Validate(at Path) error {
	var r report
	switch o.Type {
	case ObfsHTTP:
	case "":
		r.add(at.Key("type"), "is required: http")
	case "tls":
		r.add(at.Key("type"), `is "tls", which shadowsocks does not serve here; must be http`)
	default:
		r.add(at.Key("type"), "is %q, must be http", short(o.Type))
	}
	switch o.Mode {
	case "":
		o.Mode = ObfsRelaxed
	case ObfsRelaxed, ObfsStrict, ObfsStrictPath, ObfsStrictHost:
	default:
		r.add(at.Key("mode"), "is %q, must be relaxed, strict, strict_path or strict_host", short(o.Mode))
	}
	if len(o.Host) == 1 && o.Host[0] == "" {
		o.Host = nil
	}
	for i, host := range o.Host {
		if host == "" || strings.ContainsAny(host, " \t\r\n/") {
			r.add(at.Key("host").item(i, len(o.Host)), "is %q, must be a host name", short(host))
		}
	}
	if o.MatchHost() && len(o.Host) == 0 {
		r.add(at.Key("host"), "is required when mode is %s", o.Mode)
	}
	if strings.ContainsAny(o.Path, " \t\r\n") {
		r.add(at.Key("path"), "is %q, must have no blanks", short(o.Path))
	}
	return r.err()
}

// MatchHost reports whether clients must name one of Host.
func (o *Obfs) MatchHost() bool { return o.Mode == ObfsStrict || o.Mode == ObfsStrictHost }

// MatchPath reports whether clients must ask for Path.
func (o *Obfs) MatchPath() bool { return o.Mode == ObfsStrict || o.Mode == ObfsStrictPath }
