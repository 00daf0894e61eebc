// Package option is the JSON contract: the structures of the configuration file, their defaults and
// bounds, and the errors that say where a file is wrong. See docs/configuration.md.
package option

// Options is one whole configuration file.
type Options struct {
	Schema    string     `json:"$schema,omitempty"`
	Log       Log        `json:"log,omitempty"`
	DNS       DNS        `json:"dns,omitempty"`
	Inbounds  []Inbound  `json:"inbounds,omitempty"`
	Outbounds []Outbound `json:"outbounds,omitempty"`
	Route     Route      `json:"route,omitempty"`
	Panels    []Panel    `json:"panels,omitempty"`
	Limits    Limits     `json:"limits,omitempty"` // for all; inner ones win
	Traffic   Traffic    `json:"traffic,omitempty"`
	Admin     *Admin     `json:"admin,omitempty"`     // nil: none
	StateDir  string     `json:"state_dir,omitempty"` // default /var/lib/heki
	Folder    string     `json:"-"`                   // of the file that Load read; empty: there was none
}

// Log says what is logged and where.
type Log struct {
	Level         string `json:"level,omitempty"`          // debug, info (default), warn, error
	Format        string `json:"format,omitempty"`         // text (default) or json
	Dir           string `json:"dir,omitempty"`            // daily files heki-2006-01-02.log; empty: standard error
	RetentionDays int    `json:"retention_days,omitempty"` // default 7, 1 to 3650
	Disabled      bool   `json:"disabled,omitempty"`       // sing-box's name
	Timestamp     bool   `json:"timestamp,omitempty"`      // sing-box's name; heki always writes the time
	Output        string `json:"output,omitempty"`         // sing-box's name: a file instead of dir
}

// Traffic says how reports are treated.
type Traffic struct {
	OnAmbiguous string `json:"on_ambiguous,omitempty"` // hold (default), retry, drop
}
