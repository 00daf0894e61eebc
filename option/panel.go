package option

// Panel is one panel and the nodes of it that this process serves.
type Panel struct {
	Name           string      `json:"name,omitempty"`            // unique; default the type, then type-2, …
	Type           string      `json:"type,omitempty"`            // xboard, v2board, xiaov2board, sspanel, ppanel, local; default: detected
	URL            string      `json:"url,omitempty"`             // http or https; a sub-path is kept
	Key            string      `json:"key,omitempty"`             // the panel's server token; with machine_id the machine's own
	MachineID      int64       `json:"machine_id,omitempty"`      // xboard: the panel lists the nodes; nodes then hold settings of some
	APIVersion     int         `json:"api_version,omitempty"`     // xboard: 1 or 2 (default); xiaov2board: 1 (default) or 2
	SyncInterval   Duration    `json:"sync_interval,omitempty"`   // default: the panel's, else 60s; 5s to 1h
	ReportInterval Duration    `json:"report_interval,omitempty"` // default: the panel's, else 60s; 5s to 1h
	Timeout        Duration    `json:"timeout,omitempty"`         // one request; default 15s, 1s to 2m
	Path           string      `json:"path,omitempty"`            // local: file of nodes and users
	Nodes          []PanelNode `json:"nodes,omitempty"`
	NodeDefaults   Stream      `json:"node_defaults,omitempty"`
}

// PanelNode is an inbound entry with an id and without users: it fills what a panel cannot know.
// The panel rules protocol, port, transport and TLS kind.
type PanelNode struct {
	ID   int64  `json:"id"`
	Type string `json:"type,omitempty"` // only where the panel's API needs it
	Stream
	Hysteria2Local // of Hysteria 2 nodes
	SSRSharing     // SSPanel and local panels: of their ShadowsocksR nodes
}

// Limits are the operator's own limits; against a panel's value the lower non-zero one wins.
type Limits struct {
	UserSpeedMbps float64  `json:"user_speed_mbps,omitempty"` // each way; 0 is unlimited
	NodeSpeedMbps float64  `json:"node_speed_mbps,omitempty"` // all users of a node together, each way
	UserIPs       int      `json:"user_ips,omitempty"`
	UserConns     int      `json:"user_conns,omitempty"`
	IPExpiry      Duration `json:"ip_expiry,omitempty"` // default 60s: how long an IP counts after its last connection
	CIDRv4        int      `json:"cidr_v4,omitempty"`   // default 32: addresses of one prefix count as one
	CIDRv6        int      `json:"cidr_v6,omitempty"`   // default 128
	Report        Report   `json:"report,omitempty"`

	InvalidAccess InvalidAccess `json:"invalid_access,omitempty"`
}

// InvalidAccess refuses an address that failed too often to authenticate with Shadowsocks, for a
// while. It is off without count.
type InvalidAccess struct {
	Count  int      `json:"count,omitempty"`  // failures that are one too many; -1: off here
	Window Duration `json:"window,omitempty"` // in which they count; default 60s, 1s to 1h
	Ban    Duration `json:"ban,omitempty"`    // how long all is refused; default 10m, 1s to 24h
}

// Report holds thresholds of the reports; what stays below is carried over, not lost.
type Report struct {
	MinTrafficKB int64 `json:"min_traffic_kb,omitempty"`
	MinOnlineKB  int64 `json:"min_online_kb,omitempty"`
}
