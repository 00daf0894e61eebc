// Package uniproxy is what v2board and the panels grown from it, xiaov2board and XBoard, share: the
// answers about nodes and users, and the reports. They differ in paths, in who names the protocol and in
// which calls there are; a client of one panel sets those and embeds Client.
//
// Source: reference/panels.md §4 to §6.
package uniproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	jsoniter "github.com/json-iterator/go"

	"heki/adapter"
	"heki/option"
	"heki/panel"
	"heki/panel/phpjson"
	"heki/panel/webapi"
)

// Names of the calls in errors and logs.
const (
	callConfig = "get settings"
	callUsers  = "get users"
	callPush   = "report traffic"
	callAlive  = "report online"
	callCount  = "get devices"
	callStatus = "report status"
	callReport = "report"
)

// PathV1 is where v2board and those after it have the calls of version 1.
const PathV1 = "/api/v1/server/UniProxy/"

// Client makes the calls of one node. It implements panel.Client; the exported fields say how this
// panel differs and may be changed between calls.
type Client struct {
	Config  string     // path of the config call
	Path    string     // before the names of the other calls
	Query   url.Values // of every call: token, node_id, …
	Kind    string     // the protocol where answers do not name it
	NoAlive bool       // the panel takes no online addresses
	Signs   bool       // an empty push now and then is wanted as a sign of life

	// Refusals are what the panel says with status 500 before it has done anything.
	Refusals []string
	// Gone is what the panel says of a node that it does not have.
	Gone string

	call     *webapi.Caller
	now      func() time.Time
	say      func(level slog.Level, format string, args ...any)
	id       int64
	flow     string
	key      int // size of the users' keys in bytes; 0 without such
	config   webapi.Validator
	users    webapi.Validator
	noCount  bool               // a panel without alivelist
	counts   map[int64]int      // of a panel that counts in the users' rows instead; nil: it does not
	noStatus bool               // a panel without status
	apart    bool               // a panel that takes no merged reports
	misfit   bool               // it refused one, which may have had other reasons
	proven   bool               // an answer said that the paths are right
	gone     bool               // the panel had the node and has it no more
	online   map[int64]struct{} // users that the panel holds addresses of, by our last report
	pushed   time.Time
}

// New makes the client of one node, with the calls of version 1. It does not use the network.
func New(env panel.Env, o *option.Panel, node *option.PanelNode) (*Client, error) {
	call, err := webapi.New(env, o.URL, o.Key)
	if err != nil {
		return nil, err
	}
	return &Client{
		Config: PathV1 + "config", Path: PathV1,
		Query: url.Values{"token": {o.Key}, "node_id": {fmt.Sprint(node.ID)}},
		Kind:  node.Type,
		call:  call, now: env.Now, say: env.Say, id: node.ID, online: make(map[int64]struct{}),
	}, nil
}

// Caller makes the calls that one panel has alone.
func (c *Client) Caller() *webapi.Caller { return c.call }

// Proven tells whether an answer about the node was understood.
func (c *Client) Proven() bool { return c.proven }

// Node implements panel.Client.
func (c *Client) Node(ctx context.Context) (*panel.Node, error) {
	a, err := c.call.Get(ctx, callConfig, c.Config, c.Query, &c.config)
	if c.isGone(err) {
		return nil, fmt.Errorf("%s: the panel says %q: %w", callConfig, c.Gone, panel.ErrNotModified)
	}
	if err != nil {
		return nil, c.judge(err)
	}
	node, err := ParseNode(a.Body, c.Kind)
	if err != nil {
		return nil, Unusable(callConfig, a.Body, err)
	}
	c.proven = true
	if err := node.Check(c.id); err != nil {
		return nil, fmt.Errorf("%s: %w", callConfig, err)
	}
	c.config.Keep(a)
	if key := KeySize(node); node.Flow != c.flow || key != c.key { // accounts carry them: unchanged users must be read again
		c.flow, c.key = node.Flow, key
		c.users.Forget()
	}
	return node, nil
}

// isGone looks whether the panel has deleted the node. Its settings then stay, and Users says that nobody may
// come, while a failure would have it served on to everybody, and nobody billed.
func (c *Client) isGone(err error) bool {
	before := c.gone
	switch {
	case err == nil, errors.Is(err, panel.ErrNotModified):
		c.gone = false
	case c.proven && c.Gone != "" && panel.SaidIn(err) == c.Gone:
		c.gone = true
	default:
		return false // who knows
	}
	if c.gone && !before {
		c.say(slog.LevelWarn, "the panel says %q: the node has no users any more", c.Gone)
	}
	if c.gone != before {
		c.users.Forget() // a list like the last one is news again
	}
	return c.gone
}

// Users implements panel.Client. A node that the panel has deleted has none.
func (c *Client) Users(ctx context.Context) ([]adapter.Account, error) {
	if c.gone {
		return nil, nil
	}
	a, err := c.call.Get(ctx, callUsers, c.Path+"user", c.Query, &c.users)
	if err != nil {
		return nil, c.judge(err)
	}
	p, err := parseUsers(a.Body, c.flow)
	if err != nil {
		return nil, Unusable(callUsers, a.Body, err)
	}
	accounts, skipped := p.accounts, p.skipped
	c.counts = p.alive
	if c.key > 0 {
		var short int
		if accounts, short = WithKeys(accounts, c.key); short > 0 {
			skipped = append(skipped, fmt.Sprintf("%d, whose uuid is shorter than a key", short))
		}
	}
	for _, s := range skipped {
		c.say(slog.LevelWarn, "user skipped: %s", s)
	}
	c.users.Keep(a)
	return accounts, nil
}

// Changed implements panel.DeltaReader for panels that tell of single users.
func (c *Client) Changed(d panel.Delta) ([]adapter.Account, error) {
	c.users.Forget()
	if d.Changed == nil {
		return nil, nil
	}
	accounts, skipped, err := ParseUsers(d.Changed, c.flow)
	if err != nil {
		return nil, Unusable(callUsers, d.Changed, err)
	}
	if c.key > 0 {
		var short int
		if accounts, short = WithKeys(accounts, c.key); short > 0 {
			skipped = append(skipped, fmt.Sprintf("%d, whose uuid is shorter than a key", short))
		}
	}
	if len(skipped) > 0 { // the poll names them
		return nil, fmt.Errorf("users of %s cannot be read", callPush)
	}
	return accounts, nil
}

// BareETag makes the config call send its validator without quotes.
func (c *Client) BareETag() { c.config.Bare = true }

// judge makes a failure certain when the panel's words are.
func (c *Client) judge(err error) error {
	var e *panel.Error
	if errors.As(err, &e) && e.Class == panel.Unclear && slices.Contains(c.Refusals, e.Said) {
		e.Class = panel.Refused
	}
	return err
}

// Devices implements panel.DeviceCounter. v2board does not count, nor did XBoard in 2023.
func (c *Client) Devices(ctx context.Context) (map[int64]int, error) {
	if c.NoAlive || c.noCount {
		return nil, nil
	}
	if c.counts != nil {
		return c.counts, nil
	}
	var fresh webapi.Validator // the answer has no validator
	a, err := c.call.Get(ctx, callCount, c.Path+"alivelist", c.Query, &fresh)
	if panel.StatusOf(err) == http.StatusNotFound && c.proven {
		c.noCount = true
		return nil, nil
	}
	if err != nil {
		return nil, c.judge(err)
	}
	counts, err := parseCounts(a.Body)
	if err != nil {
		return nil, Unusable(callCount, a.Body, err)
	}
	return counts, nil
}

// parseCounts reads {"alive":{"2":3}}. Nobody is an empty list.
func parseCounts(body []byte) (map[int64]int, error) {
	counts := make(map[int64]int)
	err := phpjson.Decode(body, func(it *jsoniter.Iterator) {
		phpjson.Object(it, func(name string) bool {
			if name != "alive" {
				it.Skip()
				return true
			}
			phpjson.Object(it, func(id string) bool {
				n := phpjson.Int(it)
				if id, err := strconv.ParseInt(id, 10, 64); err == nil && n > 0 {
					counts[id] = int(min(n, 1<<30))
				}
				return true
			})
			return true
		})
	})
	return counts, err
}

// Forget makes the next answer about the node count as a new one, and as the first.
func (c *Client) Forget() {
	c.config.Forget()
	c.proven = false
}

// Unusable explains a 2xx answer that cannot be used. A body that is no JSON at all came from
// something in front of the panel; one that is had a mistake in its data.
func Unusable(call string, body []byte, err error) error {
	if text := webapi.Message(body); text != "" {
		return &panel.Error{Call: call, Class: panel.Refused, Status: http.StatusOK, Err: errors.New(text)}
	}
	return &panel.Error{Call: call, Class: panel.Unclear, Status: http.StatusOK, Err: fmt.Errorf("answer: %w", err)}
}

var (
	_ panel.Client        = (*Client)(nil)
	_ panel.DeviceCounter = (*Client)(nil)
)
