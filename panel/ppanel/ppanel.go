// Package ppanel speaks the node API of PPanel: the settings of a server by version 2, users and reports by
// version 1.
//
// A server of PPanel has one number and several protocols, each with a port. A node here is one of them: the
// number and the type. Source: reference/panels.md §7.
package ppanel

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"heki/adapter"
	"heki/constant"
	"heki/option"
	"heki/panel"
	"heki/panel/uniproxy"
	"heki/panel/webapi"
)

// Names of the calls in errors and logs.
const (
	callServer = "get settings"
	callUsers  = "get users"
	callPush   = "report traffic"
	callOnline = "report online"
	callStatus = "report status"
)

// The paths. That of a server's settings ends in its number.
const (
	pathServer = "/v2/server/"
	pathUsers  = "/v1/server/user"
	pathPush   = "/v1/server/push"
	pathOnline = "/v1/server/online"
	pathStatus = "/v1/server/status"
)

// Client is one protocol of one server. It implements panel.Client.
type Client struct {
	call  *webapi.Caller
	env   panel.Env
	node  option.PanelNode
	path  string     // of the settings
	key   url.Values // of version 2
	query url.Values // of version 1: protocol, too
	kind  string     // the protocol by our name; "" until the settings tell

	server  webapi.Validator
	users   webapi.Validator
	flow    string
	size    int  // of the users' keys in bytes; 0 without such
	several bool // the last list was more than what stands for nobody
	doubted bool // a list that may say "nobody" was seen once
}

// Kind is the panel type "ppanel".
func Kind() panel.Kind {
	return panel.Kind{New: func(env panel.Env, o *option.Panel, node *option.PanelNode) (panel.Client, error) {
		return New(env, o, node)
	}}
}

// New makes the client of one node. It does not use the network.
func New(env panel.Env, o *option.Panel, node *option.PanelNode) (*Client, error) {
	call, err := webapi.New(env, o.URL, o.Key)
	if err != nil {
		return nil, err
	}
	id := strconv.FormatInt(node.ID, 10)
	c := &Client{
		call: call, env: env, node: *node,
		path:  pathServer + id,
		key:   url.Values{"secret_key": {o.Key}},
		query: url.Values{"secret_key": {o.Key}, "server_id": {id}},
	}
	if node.Type == "" {
		return c, nil
	}
	word, ok := wordOf(node.Type)
	if !ok {
		return nil, fmt.Errorf("type: ppanel has no nodes of type %q; it has %s", node.Type, strings.Join(served(), ", "))
	}
	c.use(node.Type, word)
	return c, nil
}

// served are the types that heki serves and the panel has.
func served() []string {
	return []string{
		constant.TypeVLESS, constant.TypeVMess, constant.TypeTrojan, constant.TypeShadowsocks, constant.TypeHysteria2, constant.TypeAnyTLS,
	}
}

// wordOf is the panel's word for one of our types. Its Hysteria is the second version.
func wordOf(kind string) (string, bool) {
	if kind == constant.TypeHysteria2 {
		return "hysteria", true
	}
	return kind, slices.Contains(served(), kind)
}

// kindOf is our type of one of the panel's words.
func kindOf(word string) string {
	if word = strings.ToLower(strings.TrimSpace(word)); word == "hysteria" {
		return constant.TypeHysteria2
	}
	return word
}

// use makes the calls of version 1 be about that protocol; word is the panel's.
func (c *Client) use(kind, word string) {
	if kind != c.kind {
		c.kind = kind
		c.users.Forget()
	}
	c.query.Set("protocol", word)
}

// Node implements panel.Client.
func (c *Client) Node(ctx context.Context) (*panel.Node, error) {
	a, err := c.call.Get(ctx, callServer, c.path, c.key, &c.server)
	if err != nil {
		return nil, err
	}
	var s server
	if err := open(callServer, a, s.read); err != nil {
		return nil, err
	}
	p, err := s.pick(c.node.ID, c.node.Type)
	if err != nil {
		return nil, err
	}
	n, err := p.node()
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", callServer, p.kind, err)
	}
	s.apply(n)
	if err := n.Check(c.node.ID); err != nil {
		return nil, fmt.Errorf("%s: %w", callServer, err)
	}
	c.server.Keep(a)
	c.use(n.Protocol, p.word)
	if size := uniproxy.KeySize(n); n.Flow != c.flow || size != c.size { // accounts carry them: unchanged users must be read again
		c.flow, c.size = n.Flow, size
		c.users.Forget()
	}
	if p.hopPorts != "" && len(c.node.ListenPorts) == 0 {
		c.env.Say(slog.LevelWarn, `clients are told to hop among the ports %.64s; write them into "listen_ports" of the node's entry`, p.hopPorts)
	}
	return n, nil
}

// Users implements panel.Client.
func (c *Client) Users(ctx context.Context) ([]adapter.Account, error) {
	if c.kind == "" {
		return nil, fmt.Errorf("%s: the protocol of server %d is not known", callUsers, c.node.ID)
	}
	a, err := c.call.Get(ctx, callUsers, pathUsers, c.query, &c.users)
	if err != nil {
		return nil, err
	}
	accounts, skipped, err := uniproxy.ParseUsers(a.Body, c.flow)
	if err != nil {
		return nil, uniproxy.Unusable(callUsers, a.Body, err)
	}
	if c.nobody(accounts) {
		return nil, panel.ErrNotModified
	}
	if c.size > 0 {
		var short int
		if accounts, short = uniproxy.WithKeys(accounts, c.size); short > 0 {
			skipped = append(skipped, fmt.Sprintf("%d, whose uuid is shorter than a key", short))
		}
	}
	for _, s := range skipped {
		c.env.Say(slog.LevelWarn, "user skipped: %s", s)
	}
	c.users.Keep(a)
	return accounts, nil
}

// placeholder is the id of the user whom the panel makes up for a protocol that nobody has. No client is
// told its uuid. A real subscription may have the id too, so it is served like any other.
const placeholder = 1

// nobody tells whether accounts may be the panel's way to say "nobody" right after there was somebody. As
// with panels that send an empty list then, it is believed when it is said twice.
func (c *Client) nobody(accounts []adapter.Account) bool {
	lone := len(accounts) == 1 && accounts[0].ID == placeholder
	if lone && c.several && !c.doubted {
		c.doubted = true
		c.env.Say(slog.LevelWarn, "the panel answers with user %d alone, which may mean nobody; the others stay until it says so again", placeholder)
		return true
	}
	c.several, c.doubted = len(accounts) > 0 && !lone, false
	return false
}

var (
	_ panel.Client         = (*Client)(nil)
	_ panel.StatusReporter = (*Client)(nil)
)
