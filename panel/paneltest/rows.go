package paneltest

import (
	"encoding/json"
	"time"
)

// User is one row of the panel's user table.
type User struct {
	ID          int
	UUID        string // made up when empty
	SpeedMbps   int    // 0 is sent as null
	DeviceLimit int    // 0 is sent as null
	Nodes       []int  // nodes the user may use; empty is all

	Password      string // SSPanel's column passwd, made up when empty; the columns below are of its SSR rows
	Port          int
	Method        string
	Protocol      string
	ProtocolParam string
	Obfs          string
	ObfsParam     string
	Carrier       int // is_multi_user
	Alive         int // addresses on all nodes, as panels of 2021 to 2023 say; 0 is not sent
}

// Node is one row of the panel's server table.
type Node struct {
	ID          int
	Code        string // wins over ID when a node asks
	Name        string // in the list of a machine
	Machine     int    // XBoard: the machine that it is on; 0 is none
	Disabled    bool   // XBoard: the machine does not get it
	Protocol    string // vless, vmess, trojan, …, or anything else for tests of refusal
	Port        int
	Network     string   // "", tcp, ws, grpc, http, h2, httpupgrade
	Path        string   // ws, http, httpupgrade
	Paths       []string // tcp: header.request.path; there is an HTTP header then
	Host        string
	ServiceName string // grpc
	TLS         int    // 0, 1, 2
	ServerName  string
	Flow        string // vless
	Multiplex   bool

	Cipher       string // shadowsocks
	ServerKey    string // shadowsocks 2022
	Obfs         string // shadowsocks: http, with Path and Host; hysteria2: salamander
	ObfsPassword string
	UpMbps       int // hysteria2
	DownMbps     int
	Padding      []string // anytls

	PrivateKey string // with TLS 2, REALITY
	ShortID    string
	Dest       string // the handshake's target; empty, and on XBoard: ServerName
	DestPort   string // empty: 443

	Routes          []Route
	CustomOutbounds []json.RawMessage // XBoard since 2026-03: whatever an administrator entered
	CustomRoutes    []json.RawMessage

	AlterID int    // vmess of an old SSPanel
	MuOnly  int    // SSPanel, sort 0
	Closed  string // SSPanel: why the node has no users, in the panel's words

	Push int // base_config seconds; 0 is 60
	Pull int
}

// Route is one entry of a node's routes.
type Route struct {
	ID          int      `json:"id"`
	Match       []string `json:"match"`
	Action      string   `json:"action"`
	ActionValue *string  `json:"action_value"`
}

// Rule is one of SSPanel's detection rules.
type Rule struct {
	ID    int    `json:"id"`
	Name  string `json:"name"`
	Text  string `json:"text"`
	Regex string `json:"regex"`
	Type  int    `json:"type"` // 1 is of text, 2 of hexadecimal digits
}

// Hit is a user who met a rule, as a node reported.
type Hit struct{ Node, User, Rule int }

// Traffic is a pair of counters in bytes.
type Traffic struct{ Up, Down int64 }

// Push is one traffic report that the panel booked.
type Push struct {
	Node  int
	Time  time.Time
	Users map[int]Traffic
	Fault string // what the answer met, "" for none
}
