package panel

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/uuid/v5"
	jsoniter "github.com/json-iterator/go"

	"heki/adapter"
	"heki/constant"
	"heki/internal/statefile"
	"heki/option"
)

// fileVersion is the only one so far.
const fileVersion = 1

// bytesPerMbit converts bytes per second back to Mbit/s, in which people write.
const bytesPerMbit = 1e6 / 8

// File is nodes and users on disk: a snapshot, which holds one node, or what a local panel serves. So a
// panel that is gone can be replaced by a snapshot in an editor.
//
//	{ "version": 1,
//	  "nodes": [ { "id": 1, "protocol": "vless", "port": 443, "network": "ws", "path": "/x", "tls": 1 } ],
//	  "users": [ { "id": 1, "name": "alice", "uuid": "b831381d-…", "speed_limit_mbps": 100, "ip_limit": 3 } ] }
//
// A node without users of its own serves those of the file.
type File struct {
	Version int        `json:"version"`
	Saved   *time.Time `json:"saved,omitempty"` // snapshots
	Nodes   []FileNode `json:"nodes"`
	Users   []FileUser `json:"users,omitempty"`
}

// FileNode is one node of a File.
type FileNode struct {
	ID int64 `json:"id"`
	Node
	SpeedMbps    float64    `json:"speed_limit_mbps,omitempty"` // all users together, each way
	PullInterval float64    `json:"pull_interval,omitempty"`    // seconds
	PushInterval float64    `json:"push_interval,omitempty"`
	Users        []FileUser `json:"users,omitempty"`
}

// FileUser is one user of a File.
type FileUser struct {
	ID        int64   `json:"id"`
	Name      string  `json:"name,omitempty"`             // default the id
	UUID      string  `json:"uuid,omitempty"`             // required without password
	Password  string  `json:"password,omitempty"`         // default the uuid's text, as on v2board and XBoard
	Flow      string  `json:"flow,omitempty"`             // default the node's
	SpeedMbps float64 `json:"speed_limit_mbps,omitempty"` // each way; 0 is unlimited
	IPLimit   int     `json:"ip_limit,omitempty"`
	ConnLimit int     `json:"conn_limit,omitempty"`

	Port uint16 `json:"port,omitempty"` // ShadowsocksR: the user's own
	FileSSR

	// A local panel leaves a user out who is over one of these; in snapshots they are not written.
	Quota   int64      `json:"quota_bytes,omitempty"` // up and down together over all nodes; 0 is unlimited
	Expires *time.Time `json:"expires,omitempty"`     // RFC 3339
}

// FileSSR is how the port of a ShadowsocksR user speaks, and what the user's host is made of.
type FileSSR struct {
	Method        string `json:"method,omitempty"`
	Protocol      string `json:"protocol,omitempty"`
	ProtocolParam string `json:"protocol_param,omitempty"`
	Obfs          string `json:"obfs,omitempty"`
	ObfsParam     string `json:"obfs_param,omitempty"`
}

// node returns the settings in the form that clients return.
func (f *FileNode) node() *Node {
	n := f.Node
	n.SpeedBytes = option.MbpsToBytes(f.SpeedMbps)
	n.Pull = time.Duration(f.PullInterval * float64(time.Second))
	n.Push = time.Duration(f.PushInterval * float64(time.Second))
	return &n
}

// Find returns the settings and users of one node, checked. The error names the place.
func (f *File) Find(id int64) (*Node, []adapter.Account, error) {
	for i := range f.Nodes {
		if f.Nodes[i].ID != id {
			continue
		}
		n, users, at := f.Nodes[i].node(), f.Nodes[i].Users, "users"
		if err := n.Check(id); err != nil {
			return nil, nil, err
		}
		if users == nil {
			users = f.Users
		} else {
			at = fmt.Sprintf("nodes[%d].users", i)
		}
		accounts, err := accountsOf(users, n, at)
		return n, accounts, err
	}
	return nil, nil, fmt.Errorf("has no node %d", id)
}

// UsersOf returns the users of one node, in the order of the accounts that Find returns.
func (f *File) UsersOf(id int64) []FileUser {
	for i := range f.Nodes {
		if f.Nodes[i].ID == id && f.Nodes[i].Users != nil {
			return f.Nodes[i].Users
		}
	}
	return f.Users
}

// accountsOf turns file users into accounts and reports every mistake, up to a few.
func accountsOf(users []FileUser, n *Node, at string) ([]adapter.Account, error) {
	const most = 10
	var errs []error
	accounts := make([]adapter.Account, 0, len(users))
	first := make(map[int64]int, len(users))
	for i := range users {
		u := &users[i]
		a, err := u.account(n)
		j, twice := first[u.ID]
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s[%d].%w", at, i, err))
		case twice:
			errs = append(errs, fmt.Errorf("%s[%d].id: %d is also the id of %s[%d]", at, i, u.ID, at, j))
		default:
			first[u.ID] = i
			accounts = append(accounts, a)
		}
		if len(errs) == most {
			break
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return accounts, nil
}

func (u *FileUser) account(n *Node) (adapter.Account, error) {
	a := adapter.Account{
		ID: u.ID, Name: u.Name, Password: u.Password, Flow: u.Flow, AlterID: n.AlterID, Port: u.Port, SSR: adapter.SSR(u.FileSSR),
		SpeedBytes: option.MbpsToBytes(u.SpeedMbps), IPLimit: u.IPLimit, ConnLimit: u.ConnLimit,
	}
	if u.ID <= 0 {
		return a, fmt.Errorf("id: is %d, must be 1 or more", u.ID)
	}
	if u.UUID != "" || u.Password == "" {
		id, err := option.ParseUUID(u.UUID)
		if err != nil {
			return a, fmt.Errorf("uuid: %w", err)
		}
		a.UUID = id
	}
	if a.Name == "" {
		a.Name = strconv.FormatInt(u.ID, 10)
	}
	if a.Password == "" {
		a.Password = u.UUID
	}
	if a.Flow == "" {
		a.Flow = n.Flow
	}
	if a.Flow != "" && a.Flow != FlowVision {
		return a, fmt.Errorf("flow: is %.32q, must be empty or %s", a.Flow, FlowVision)
	}
	if u.SpeedMbps < 0 || math.IsNaN(u.SpeedMbps) || u.IPLimit < 0 || u.ConnLimit < 0 || u.Quota < 0 {
		return a, errors.New("limits: must not be negative")
	}
	return a, nil
}

// fileOf is the snapshot of one node. Reading it gives the same accounts.
func fileOf(id int64, n *Node, accounts []adapter.Account, now time.Time) *File {
	node := FileNode{
		ID: id, Node: *n, SpeedMbps: float64(n.SpeedBytes) / bytesPerMbit,
		PullInterval: n.Pull.Seconds(), PushInterval: n.Push.Seconds(),
		Users: make([]FileUser, len(accounts)),
	}
	for i, a := range accounts {
		u := FileUser{
			ID: a.ID, SpeedMbps: float64(a.SpeedBytes) / bytesPerMbit,
			IPLimit: a.IPLimit, ConnLimit: a.ConnLimit, Port: a.Port, FileSSR: FileSSR(a.SSR),
		}
		if a.UUID != [16]byte{} || a.Password == "" {
			u.UUID = uuid.UUID(a.UUID).String()
		}
		if a.Name != strconv.FormatInt(a.ID, 10) {
			u.Name = a.Name
		}
		if a.Password != u.UUID {
			u.Password = a.Password
		}
		if a.Flow != n.Flow {
			u.Flow = a.Flow
		}
		node.Users[i] = u
	}
	return &File{Version: fileVersion, Saved: &now, Nodes: []FileNode{node}}
}

// ReadFile reads a File; it does not check nodes and users, Find does.
func ReadFile(path string) (*File, error) {
	h, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	raw, err := readAtMost(h, constant.MaxStateFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f, err := parseFile(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// readAtMost reads what is no larger than most bytes.
func readAtMost(r io.Reader, most int) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err == nil && len(raw) > most {
		return nil, fmt.Errorf("is larger than %d MiB", most>>20)
	}
	return raw, err
}

// parseFile refuses unknown members: in a file that people edit they are misspellings.
func parseFile(raw []byte) (*File, error) {
	var f File
	api := jsoniter.Config{DisallowUnknownFields: true, CaseSensitive: true}.Froze()
	if err := api.Unmarshal(raw, &f); err != nil {
		text, _, _ := strings.Cut(err.Error(), ", error found") // the rest quotes credentials
		return nil, errors.New(text)
	}
	if f.Version != fileVersion {
		return nil, fmt.Errorf("version: is %d, must be %d", f.Version, fileVersion)
	}
	return &f, nil
}

// WriteAtomic writes data to path so that a reader, also after a crash, finds the old file or the new
// one. The file is readable by its owner only; the directory is made when missing.
func WriteAtomic(path string, data []byte) error { return statefile.Write(path, data) }
