// Package xboard speaks the node API of XBoard, version 2 and version 1: the same bodies behind
// different paths. Source: reference/panels.md §6.
package xboard

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"heki/option"
	"heki/panel"
	"heki/panel/machine"
	"heki/panel/uniproxy"
)

// pathV2 is where version 2 has its calls; their names are those of version 1.
const pathV2 = "/api/v2/server/"

// Client is one node of an XBoard. It implements panel.Client.
type Client struct {
	*uniproxy.Client
	say     func(level slog.Level, format string, args ...any)
	machine bool // the node is a machine's: the panel has version 2
}

// Kind is the panel type "xboard".
func Kind() panel.Kind {
	return panel.Kind{
		New: func(env panel.Env, o *option.Panel, node *option.PanelNode) (panel.Client, error) {
			return New(env, o, node)
		},
		Machine: func(env panel.Env, o *option.Panel) (panel.Machine, error) { return NewMachine(env, o) },
	}
}

// New makes the client of one node. It does not use the network.
func New(env panel.Env, o *option.Panel, node *option.PanelNode) (*Client, error) {
	base, err := uniproxy.New(env, o, node)
	if err != nil {
		return nil, err
	}
	base.Gone = "Server does not exist"
	c := &Client{Client: base, say: env.Say, machine: o.MachineID != 0}
	switch {
	case o.APIVersion == 0, o.APIVersion == 2:
		c.use(pathV2)
		if c.machine {
			c.Query.Set("machine_id", fmt.Sprint(o.MachineID))
		}
	case o.APIVersion == 1 && !c.machine:
		c.use(uniproxy.PathV1)
	default:
		return nil, fmt.Errorf("api_version: is %d, must be 1 or 2", o.APIVersion)
	}
	return c, nil
}

// use switches paths. Version 1 tells nodes that share a code apart by their type.
func (c *Client) use(path string) {
	c.Config, c.Path = path+"config", path
	c.Query.Del("node_type")
	if path == uniproxy.PathV1 && c.Kind != "" {
		c.Query.Set("node_type", c.Kind)
	}
}

// Node implements panel.Client. A panel older than March 2026 has no version 2: its 404 makes the
// client use version 1 from then on, if that is there.
func (c *Client) Node(ctx context.Context) (*panel.Node, error) {
	node, err := c.Client.Node(ctx)
	if c.Path == pathV2 && !c.machine && !c.Proven() && panel.StatusOf(err) == http.StatusNotFound {
		return c.nodeV1(ctx, err)
	}
	return node, err
}

// nodeV1 tries version 1 and stays with it unless it is missing as well; then v2 is what is told.
func (c *Client) nodeV1(ctx context.Context, v2 error) (*panel.Node, error) {
	c.use(uniproxy.PathV1)
	node, err := c.Client.Node(ctx)
	switch {
	case c.Proven():
		c.say(slog.LevelInfo, `the panel has no API version 2, using version 1; "api_version": 1 saves the try`)
		return node, err
	case panel.StatusOf(err) == http.StatusNotFound:
		err = v2
	}
	c.use(pathV2) // not proven either: ask again from the start
	return nil, err
}

// ReportStatus implements panel.StatusReporter.
func (c *Client) ReportStatus(ctx context.Context, s machine.State) error {
	return c.PostStatus(ctx, s)
}

// Report implements panel.Merger: version 2 takes everything in one call.
func (c *Client) Report(ctx context.Context, r *panel.Report) error {
	if c.Path != pathV2 {
		return panel.ErrSeparate
	}
	return c.PostReport(ctx, r)
}

var (
	_ panel.Client         = (*Client)(nil)
	_ panel.Merger         = (*Client)(nil)
	_ panel.DeltaReader    = (*Client)(nil)
	_ panel.StatusReporter = (*Client)(nil)
)
