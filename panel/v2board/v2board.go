// Package v2board speaks the node API of v2board 1.7 and of xiaov2board, which has more protocols, online
// addresses and, as version 2 of its settings call, one table for all nodes.
//
// Elsewhere each protocol has a table of its own: node 1 of vmess and node 1 of trojan are two nodes, and
// every call must say which is meant. Source: reference/panels.md §4 and §5.
package v2board

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"heki/adapter"
	"heki/constant"
	"heki/option"
	"heki/panel"
	"heki/panel/uniproxy"
)

// configV2 is the one call of xiaov2board's version 2; the other calls of such a node are those of version
// 1 with the type typeV2.
const (
	configV2 = "/api/v2/server/config"
	typeV2   = "v2node"
)

// notHere is what the panel says of a node that its table of the type does not have.
const notHere = "server is not exist"

// refusals come with status 500, before the panel does anything.
func refusals() []string { return []string{"token is null", "token is error", notHere} }

// Client is one node of a v2board or xiaov2board. It implements panel.Client.
type Client struct {
	*uniproxy.Client
	say    func(level slog.Level, format string, args ...any)
	id     int64
	types  []string // that a node may have, in our names; empty once the type is known
	oldVM  bool     // vmess may be called v2ray: v2board before 1.7.3
	banner string   // the panel's name in texts
}

// Kind is the panel type "v2board".
func Kind() panel.Kind {
	return panel.Kind{New: func(env panel.Env, o *option.Panel, node *option.PanelNode) (panel.Client, error) {
		return New(env, o, node)
	}}
}

// XiaoKind is the panel type "xiaov2board".
func XiaoKind() panel.Kind {
	return panel.Kind{New: func(env panel.Env, o *option.Panel, node *option.PanelNode) (panel.Client, error) {
		return NewXiao(env, o, node)
	}}
}

// New makes the client of one node of a v2board. It does not use the network.
func New(env panel.Env, o *option.Panel, node *option.PanelNode) (*Client, error) {
	c, err := newClient(env, o, node)
	if err != nil {
		return nil, err
	}
	c.banner, c.NoAlive, c.oldVM = constant.PanelV2board, true, true
	return c, c.ask(node.Type, constant.TypeVMess, constant.TypeTrojan, constant.TypeShadowsocks)
}

// NewXiao makes the client of one node of a xiaov2board. It does not use the network.
func NewXiao(env panel.Env, o *option.Panel, node *option.PanelNode) (*Client, error) {
	c, err := newClient(env, o, node)
	if err != nil {
		return nil, err
	}
	c.banner = constant.PanelXiaoV2board
	switch o.APIVersion {
	case 2:
		c.Config, c.Kind = configV2, ""
		c.Query.Set("node_type", typeV2)
		c.BareETag() // it compares with the bare hash
		return c, nil
	case 0, 1:
		return c, c.ask(node.Type, constant.TypeVMess, constant.TypeVLESS, constant.TypeTrojan,
			constant.TypeShadowsocks, constant.TypeHysteria2, constant.TypeAnyTLS)
	}
	return nil, fmt.Errorf("api_version: is %d, must be 1 or 2", o.APIVersion)
}

func newClient(env panel.Env, o *option.Panel, node *option.PanelNode) (*Client, error) {
	base, err := uniproxy.New(env, o, node)
	if err != nil {
		return nil, err
	}
	base.Signs, base.Refusals, base.Gone = true, refusals(), notHere
	return &Client{Client: base, say: env.Say, id: node.ID}, nil
}

// ask makes the calls ask for nodes of that type; with none the type is found out among types.
func (c *Client) ask(kind string, types ...string) error {
	if kind == "" {
		c.types = types
		return nil
	}
	if !slices.Contains(types, kind) {
		return fmt.Errorf("type: %s has no nodes of type %q; it has %s", c.banner, kind, strings.Join(types, ", "))
	}
	c.use(kind)
	return nil
}

func (c *Client) use(kind string) {
	c.Kind = kind
	c.Query.Set("node_type", kind)
}

// Node implements panel.Client.
func (c *Client) Node(ctx context.Context) (*panel.Node, error) {
	if len(c.types) > 0 {
		return c.find(ctx)
	}
	if c.Proven() || c.Kind == "" { // version 2 has no types
		return c.Client.Node(ctx)
	}
	return c.asType(ctx, c.Kind)
}

// asType asks for the node of that type. v2board before 1.7.3 calls vmess v2ray.
func (c *Client) asType(ctx context.Context, kind string) (*panel.Node, error) {
	c.use(kind)
	node, err := c.Client.Node(ctx)
	if !c.oldVM || kind != constant.TypeVMess || !isNotHere(err) {
		return node, err
	}
	c.Query.Set("node_type", "v2ray")
	old, oldErr := c.Client.Node(ctx)
	if isNotHere(oldErr) {
		c.use(kind)
		return node, err
	}
	return old, oldErr
}

// find asks for the node under every type. Ids are given out per type, so that more than one may have it:
// then only the operator knows which one is meant.
func (c *Client) find(ctx context.Context) (*panel.Node, error) {
	var (
		have []string
		name string // of the type, as the panel has it
		node *panel.Node
		bad  error // of the node that was found: it cannot be served
		none error
	)
	for _, kind := range c.types {
		n, err := c.asType(ctx, kind)
		switch {
		case isNotHere(err):
			none = err
			continue
		case err != nil && !c.Proven():
			return nil, err
		}
		have, node, bad = append(have, kind), n, err
		name = c.Query.Get("node_type")
		c.Forget()
	}
	switch len(have) {
	case 0:
		return nil, none
	case 1:
		c.say(slog.LevelInfo, "node %d is of type %s; \"type\" in its entry saves the search", c.id, have[0])
		c.types = nil
		c.use(have[0])
		c.Query.Set("node_type", name)
		return node, bad
	}
	return nil, fmt.Errorf("node %d is in the panel's tables of %s: write \"type\" into its entry", c.id, strings.Join(have, " and "))
}

// Users implements panel.Client.
func (c *Client) Users(ctx context.Context) ([]adapter.Account, error) {
	if len(c.types) > 0 {
		return nil, fmt.Errorf("the type of node %d is not known", c.id)
	}
	return c.Client.Users(ctx)
}

func isNotHere(err error) bool { return panel.SaidIn(err) == notHere }

var _ panel.Client = (*Client)(nil)
