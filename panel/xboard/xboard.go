// Package xboard speaks the node API of XBoard, version 2 and version 1: the same bodies behind
// different paths. Source: reference/panels.md §6.
package xboard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"

	"heki/adapter"
	"heki/option"
	"heki/panel"
	"heki/panel/webapi"
)

// Names of the calls in errors and logs.
const (
	callConfig = "get settings"
	callUsers  = "get users"
	callPush   = "report traffic"
	callAlive  = "report online"
)

// Paths of the two versions; the actions have the same names.
const (
	pathV1 = "/api/v1/server/UniProxy/"
	pathV2 = "/api/v2/server/"
)

// Client is one node of an XBoard. It implements panel.Client.
type Client struct {
	call *webapi.Caller
	say  func(level slog.Level, format string, args ...any)
	id   int64
	kind string // the node entry's type: for panels that do not send "protocol"

	path    string
	query   url.Values
	proven  bool // the version is right: an answer said so
	flow    string
	config  webapi.Validator
	users   webapi.Validator
	online  map[int64]struct{} // users that the panel holds addresses of, by our last report
	noAlive bool               // an old panel without the call; said once
}

// Kind is the panel type "xboard".
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
	c := &Client{call: call, say: env.Say, id: node.ID, kind: node.Type, online: make(map[int64]struct{})}
	c.query = url.Values{"token": {o.Key}, "node_id": {strconv.FormatInt(node.ID, 10)}}
	switch o.APIVersion {
	case 0, 2:
		c.path = pathV2
	case 1:
		c.useV1()
	default:
		return nil, fmt.Errorf("api_version: is %d, must be 1 or 2", o.APIVersion)
	}
	return c, nil
}

// useV1 switches paths. Version 1 tells nodes that share a code apart by their type.
func (c *Client) useV1() {
	c.path = pathV1
	if c.kind != "" {
		c.query.Set("node_type", c.kind)
	}
}

// Node implements panel.Client. A panel older than March 2026 has no version 2: its 404 makes the
// client use version 1 from then on, if that is there.
func (c *Client) Node(ctx context.Context) (*panel.Node, error) {
	a, err := c.call.Get(ctx, callConfig, c.path+"config", c.query, &c.config)
	if isStatus(err, http.StatusNotFound) && c.path == pathV2 && !c.proven {
		a, err = c.nodeV1(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	c.proven = true
	node, err := parseNode(a.Body, c.kind)
	if err != nil {
		return nil, unusable(callConfig, a.Body, err)
	}
	if err := node.Check(c.id); err != nil {
		return nil, fmt.Errorf("%s: %w", callConfig, err)
	}
	c.config.Keep(a)
	if node.Flow != c.flow { // accounts carry the flow: unchanged users must be read again
		c.flow = node.Flow
		c.users = webapi.Validator{}
	}
	return node, nil
}

// nodeV1 tries version 1 and stays with it unless it is missing as well; then v2 is what is told.
func (c *Client) nodeV1(ctx context.Context, v2 error) (*webapi.Answer, error) {
	c.useV1()
	a, err := c.call.Get(ctx, callConfig, c.path+"config", c.query, &c.config)
	if isStatus(err, http.StatusNotFound) {
		c.path = pathV2
		c.query.Del("node_type")
		return nil, v2
	}
	if err == nil {
		c.say(slog.LevelInfo, `the panel has no API version 2, using version 1; "api_version": 1 saves the try`)
	} else {
		c.path = pathV2 // not proven either: ask again from the start
		c.query.Del("node_type")
	}
	return a, err
}

// Users implements panel.Client.
func (c *Client) Users(ctx context.Context) ([]adapter.Account, error) {
	a, err := c.call.Get(ctx, callUsers, c.path+"user", c.query, &c.users)
	if err != nil {
		return nil, err
	}
	accounts, skipped, err := parseUsers(a.Body, c.flow)
	if err != nil {
		return nil, unusable(callUsers, a.Body, err)
	}
	for _, s := range skipped {
		c.say(slog.LevelWarn, "user skipped: %s", s)
	}
	c.users.Keep(a)
	return accounts, nil
}

// isStatus tells whether err is an answer with that status.
func isStatus(err error, status int) bool {
	var e *panel.Error
	return errors.As(err, &e) && e.Status == status
}

// unusable explains a 2xx answer that cannot be used. A body that is no JSON at all came from
// something in front of the panel; one that is had a mistake in its data.
func unusable(call string, body []byte, err error) error {
	if text := webapi.Message(body); text != "" {
		return &panel.Error{Call: call, Class: panel.Refused, Status: http.StatusOK, Err: errors.New(text)}
	}
	return &panel.Error{Call: call, Class: panel.Unclear, Status: http.StatusOK, Err: fmt.Errorf("answer: %w", err)}
}

var _ panel.Client = (*Client)(nil)
