// Package sspanel speaks the node API of SSPanel-UIM, from the panels of 2018 with their address strings
// to those of today. Source: reference/panels.md §2 and §3.
package sspanel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	jsoniter "github.com/json-iterator/go"

	"heki/adapter"
	"heki/option"
	"heki/panel"
	"heki/panel/phpjson"
	"heki/panel/webapi"
)

// Names of the calls in errors and logs.
const (
	callInfo    = "get settings"
	callUsers   = "get users"
	callTraffic = "report traffic"
	callAlive   = "report online"
	callStatus  = "report status"
	callRules   = "get rules"
	callAudit   = "report audit"
)

// Client is one node of an SSPanel. It implements panel.Client and panel.Brittle.
type Client struct {
	call  *webapi.Caller
	say   func(level slog.Level, format string, args ...any)
	id    int64
	path  string     // of the node's settings
	key   url.Values // of the settings call
	query url.Values // of the other calls

	info  webapi.Validator
	users webapi.Validator
	each  terms // what accounts take from the settings
	known map[int64]struct{}
	alive map[int64]int // addresses over all nodes; users who are left out have none

	ports  *info              // of a node of sort 0, which the users' rows complete
	shape  *panel.Node        // what the last rows made of it; nil: there were none
	listed *[]adapter.Account // what Users has to say then; nil: nothing new

	noStatus bool // the panel takes none
	rules    webapi.Validator
	skipped  int    // rules that are not served, as told
	closed   string // why the node has no users, as told
}

// terms are what the settings say about every user.
type terms struct {
	speed   int64 // bytes per second of each; 0 is unlimited
	flow    string
	alterID int
	passwd  bool // the credential is the column passwd, else uuid
}

// Kind is the panel type "sspanel".
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
	return &Client{
		call: call, say: env.Say, id: node.ID,
		path:  "/mod_mu/nodes/" + id + "/info",
		key:   url.Values{"key": {o.Key}},
		query: url.Values{"key": {o.Key}, "node_id": {id}},
	}, nil
}

// Node implements panel.Client.
func (c *Client) Node(ctx context.Context) (*panel.Node, error) {
	a, err := c.call.Get(ctx, callInfo, c.path, c.key, &c.info)
	if errors.Is(err, panel.ErrNotModified) && c.ports != nil {
		return c.byRows(ctx)
	}
	if err != nil {
		return nil, hint(err)
	}
	var row info
	if err := open(callInfo, a, row.read); err != nil {
		if said := panel.SaidIn(err); slices.Contains(closed(), said) {
			return c.asBefore(ctx, said)
		}
		return nil, err
	}
	for _, what := range row.ignored() {
		c.say(slog.LevelWarn, "custom_config: ignored: %s", what)
	}
	c.ports = nil
	if row.sort == sortShadowsocks {
		c.info.Keep(a)
		c.ports, c.shape, c.each = &row, nil, terms{speed: option.MbpsToBytes(row.speed)}
		c.users.Forget() // they must be read again
		return c.byRows(ctx)
	}
	node, each, err := row.node()
	if err == nil {
		err = node.Check(c.id)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", callInfo, err)
	}
	c.info.Keep(a)
	if each != c.each { // unchanged users must be read again
		c.each = each
		c.users.Forget()
	}
	return node, nil
}

// asBefore keeps the settings of a node that the panel has closed: Users says that nobody may come, while a failure
// would have it served on to everybody.
func (c *Client) asBefore(ctx context.Context, said string) (*panel.Node, error) {
	if c.ports != nil {
		return c.byRows(ctx)
	}
	return nil, fmt.Errorf("%s: the panel says %q: %w", callInfo, said, panel.ErrNotModified)
}

// closed are the panel's words for a node that nobody may use.
func closed() []string {
	return []string{"Node not found.", "Node is not enabled.", "Node out of bandwidth."}
}

// Users implements panel.Client. A node that the panel has closed has no users.
func (c *Client) Users(ctx context.Context) ([]adapter.Account, error) {
	if c.ports != nil {
		if c.listed == nil {
			return nil, panel.ErrNotModified
		}
		return slices.Clone(*c.listed), nil
	}
	p, err := c.fetchUsers(ctx)
	if err != nil {
		return nil, err
	}
	c.tell(p)
	return p.accounts, nil
}

// fetchUsers asks for the users, or says ErrNotModified.
func (c *Client) fetchUsers(ctx context.Context) (*userParser, error) {
	a, err := c.call.Get(ctx, callUsers, "/mod_mu/users", c.query, &c.users)
	if err != nil {
		return nil, hint(err)
	}
	p := &userParser{terms: c.each, keep: c.ports != nil, seen: make(map[int64]struct{}), alive: make(map[int64]int)}
	err = open(callUsers, a, p.read)
	if said := panel.SaidIn(err); slices.Contains(closed(), said) {
		if said != c.closed {
			c.say(slog.LevelWarn, "the panel says %q: it has no users", said)
		}
		c.closed = said
		c.users.Forget() // a list like the last one is news again
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	c.users.Keep(a)
	c.known, c.alive, c.closed = p.seen, p.alive, ""
	return p, nil
}

// tell names the rows that are not served.
func (c *Client) tell(p *userParser) {
	for _, s := range p.skippedUsers() {
		c.say(slog.LevelWarn, "skipped: %s", s)
	}
}

// Devices implements panel.DeviceCounter: panels of 2021 to 2023 say how many addresses a user has on all
// nodes, others nothing.
func (c *Client) Devices(context.Context) (map[int64]int, error) { return c.alive, nil }

// Knows implements panel.Brittle: the panel's code runs into an error at a user who is no longer there,
// after it has billed those before.
func (c *Client) Knows(id int64) bool {
	_, ok := c.known[id]
	return ok
}

// open reads the panel's envelope {"ret":1,"data":…} and hands the data to read. Failures come with status
// 200 and ret 0; the text is in msg, or in data before 2023-07.
func open(call string, a *webapi.Answer, read func(*jsoniter.Iterator)) error {
	var (
		ret  int64
		has  bool
		data []byte
		text string
	)
	err := phpjson.Decode(a.Body, func(it *jsoniter.Iterator) {
		if it.WhatIsNext() != jsoniter.ObjectValue {
			phpjson.Fail(it, "is not an object")
			return
		}
		phpjson.Object(it, func(name string) bool {
			switch name {
			case "ret":
				ret, has = phpjson.Int(it), true
			case "msg":
				text = phpjson.Text(it)
			case "data":
				data = it.SkipAndReturnBytes()
			default:
				it.Skip()
			}
			return true
		})
	})
	fail := &panel.Error{Call: call, Class: panel.Unclear, Status: a.Status}
	switch {
	case err != nil:
		fail.Err = fmt.Errorf("answer: %w", err)
	case !has:
		fail.Err = errors.New("answer: ret is missing; is this an SSPanel?")
	case ret != 1:
		return refused(fail, text, data)
	case read == nil:
		return nil
	case data == nil:
		fail.Err = errors.New("answer: data is missing")
	default:
		if err := phpjson.Decode(data, read); err != nil {
			fail.Err = fmt.Errorf("answer: data: %w", err)
			return fail
		}
		return nil
	}
	return fail
}

// refused explains ret 0. Only a database that failed in the middle leaves open what was done.
func refused(fail *panel.Error, text string, data []byte) error {
	if text == "" {
		text = webapi.Message(slices.Concat([]byte(`{"msg":`), data, []byte("}")))
	}
	fail.Class, fail.Said = panel.Refused, text
	if text == "update failed" {
		fail.Class = panel.Unclear
	}
	if text == "" {
		text = "the panel refuses and gives no reason"
	}
	fail.Err = errors.New(text + reason(text))
	return fail
}

// reason says what an operator can do about the panel's words.
func reason(text string) string {
	switch {
	case text == "Invalid request." || text == "Token is invalid" || text == "Token is invalid." || text == "token or source is invalid":
		return " (wrong key, too many requests, or url is not the address that the panel has as its webAPIUrl)"
	case len(text) >= len(badIP) && text[:len(badIP)] == badIP || text == "Invalid request IP.":
		return " (the panel takes calls only from its nodes' addresses: enter this server's address in the node, or turn checkNodeIp off)"
	}
	return ""
}

const badIP = "IP is invalid."

// hint adds to a status 401, which says little.
func hint(err error) error {
	var e *panel.Error
	if errors.As(err, &e) && e.Status == http.StatusUnauthorized {
		if more := reason(e.Said); more != "" {
			e.Err = fmt.Errorf("%w%s", e.Err, more)
		}
	}
	return err
}

var (
	_ panel.Client         = (*Client)(nil)
	_ panel.Brittle        = (*Client)(nil)
	_ panel.DeviceCounter  = (*Client)(nil)
	_ panel.StatusReporter = (*Client)(nil)
	_ panel.RuleSource     = (*Client)(nil)
	_ panel.AuditReporter  = (*Client)(nil)
)
