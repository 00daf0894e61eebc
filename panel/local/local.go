// Package local serves nodes and users from a file instead of a panel, and keeps the bill in another.
//
// The file is a panel.File, the same as a snapshot. It is looked at on every sync and read again when
// it changed; one with a mistake leaves the former nodes and users in place. Replace it with a rename
// so that no half of it is read.
//
//	{ "version": 1,
//	  "nodes": [ { "id": 1, "protocol": "vless", "port": 8443 },
//	             { "id": 2, "protocol": "trojan", "port": 443, "network": "ws", "path": "/x", "tls": 1,
//	               "server_name": "www.example.com", "pull_interval": 10 } ],
//	  "users": [ { "id": 1, "name": "alice", "uuid": "b831381d-6324-4d53-ad4f-8cda48b30811",
//	               "speed_limit_mbps": 100, "ip_limit": 3, "conn_limit": 0,
//	               "quota_bytes": 107374182400, "expires": "2027-01-31T00:00:00Z" } ] }
//
// A user's trojan password is "password", by default the text of "uuid". Every user may use every node
// unless the node has "users" of its own. What users moved is summed in state_dir/local/<tag>.json:
//
//	{ "version": 1, "since": "2026-11-22T00:00:00Z", "users": { "1": { "name": "alice", "up": 1, "down": 2 } } }
package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"heki/adapter"
	"heki/internal/meter"
	"heki/option"
	"heki/panel"
)

// Client is one node of the file. It implements panel.Client.
type Client struct {
	path   string
	id     int64
	totals totals

	seen     stamp // of the file that node, users and accounts are from
	node     *panel.Node
	users    []panel.FileUser
	accounts []adapter.Account // of users
	told     []adapter.Account // what Users returned last; nil: nothing of this file yet
}

// stamp tells one content of a file from the next.
type stamp struct {
	modified time.Time
	size     int64
}

// Kind is the panel type "local".
func Kind() panel.Kind {
	return panel.Kind{
		New: func(env panel.Env, o *option.Panel, node *option.PanelNode) (panel.Client, error) {
			return New(env, o, node), nil
		},
		Nodes: Nodes,
	}
}

// New makes the client of one node. It reads nothing yet.
func New(env panel.Env, o *option.Panel, node *option.PanelNode) *Client {
	return &Client{path: o.Path, id: node.ID, totals: totals{
		path: filepath.Join(env.Dir, filepath.Base(meter.Dir("", env.Tag))+".json"),
		now:  env.Now,
	}}
}

// Nodes lists the nodes of the file of a panel entry that names none.
func Nodes(o *option.Panel) ([]option.PanelNode, error) {
	f, err := panel.ReadFile(o.Path)
	if err != nil {
		return nil, err
	}
	nodes := make([]option.PanelNode, len(f.Nodes))
	for i, n := range f.Nodes {
		nodes[i].ID = n.ID
	}
	return nodes, nil
}

// Node implements panel.Client.
func (c *Client) Node(context.Context) (*panel.Node, error) {
	info, err := os.Stat(c.path)
	if err != nil {
		return nil, err
	}
	now := stamp{info.ModTime(), info.Size()}
	if c.node != nil && now == c.seen {
		return nil, panel.ErrNotModified
	}
	f, err := panel.ReadFile(c.path)
	if err != nil {
		return nil, err
	}
	node, accounts, err := f.Find(c.id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.path, err)
	}
	c.seen, c.node, c.users, c.accounts, c.told = now, node, f.UsersOf(c.id), accounts, nil
	return node, nil
}

// Users implements panel.Client. They are those of the last good file who are neither expired nor over
// their quota.
func (c *Client) Users(context.Context) ([]adapter.Account, error) {
	if c.node == nil {
		return nil, fmt.Errorf("%s: has not been read", c.path)
	}
	used, err := c.used()
	if err != nil {
		return nil, err
	}
	now := c.totals.now()
	allowed := make([]adapter.Account, 0, len(c.accounts))
	for i, u := range c.users {
		if (u.Expires == nil || now.Before(*u.Expires)) && (u.Quota == 0 || used[u.ID] < u.Quota) {
			allowed = append(allowed, c.accounts[i])
		}
	}
	if c.told != nil && slices.Equal(c.told, allowed) {
		return nil, panel.ErrNotModified
	}
	c.told = allowed
	return slices.Clone(allowed), nil
}

// used is what the users with a quota moved over all nodes of the panel, as far as it is booked: a user may
// go beyond by what moves between two reports.
func (c *Client) used() (map[int64]int64, error) {
	if !slices.ContainsFunc(c.users, func(u panel.FileUser) bool { return u.Quota > 0 }) {
		return nil, nil
	}
	return sumAll(c.totals.path)
}

// ReportTraffic implements panel.Client: it adds to the totals.
func (c *Client) ReportTraffic(_ context.Context, users []meter.Traffic) error {
	if err := c.totals.add(users); err != nil {
		return &panel.Error{Call: "report traffic", Class: panel.Refused, Err: err}
	}
	return nil
}

// ReportOnline implements panel.Client: nobody asks.
func (c *Client) ReportOnline(context.Context, []meter.Online) error { return nil }

var _ panel.Client = (*Client)(nil)
