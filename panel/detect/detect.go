// Package detect finds out which panel answers at an address, for entries that do not say.
//
// Each panel is asked what only it answers in its own way, SSPanel first. A wrong key is told apart from
// a wrong panel. Source: reference/panels.md §10.
package detect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"

	jsoniter "github.com/json-iterator/go"

	"heki/adapter"
	"heki/constant"
	"heki/internal/meter"
	"heki/option"
	"heki/panel"
	"heki/panel/phpjson"
	"heki/panel/webapi"
)

const call = "detect the panel's type"

// Client stands in for the client of a panel of unknown type. It implements panel.Detector; every other
// call fails without reaching the network.
type Client struct {
	env   panel.Env
	o     *option.Panel
	node  *option.PanelNode
	kinds map[string]panel.Kind
	call  *webapi.Caller
}

// Kind is the panel type "": one of kinds, by its name.
func Kind(kinds map[string]panel.Kind) panel.Kind {
	return panel.Kind{New: func(env panel.Env, o *option.Panel, node *option.PanelNode) (panel.Client, error) {
		c, err := webapi.New(env, o.URL, o.Key)
		if err != nil {
			return nil, err
		}
		return &Client{env: env, o: o, node: node, kinds: kinds, call: c}, nil
	}}
}

// Detect implements panel.Detector.
func (c *Client) Detect(ctx context.Context) (panel.Client, error) {
	found, err := c.find(ctx)
	if err != nil {
		return nil, err
	}
	o := *c.o
	o.Type, o.APIVersion = found.kind, found.version
	c.env.Say(slog.LevelInfo, `the panel is %s; "type": %q in its entry saves the question`, describe(found), found.kind)
	return c.kinds[found.kind].New(c.env, &o, c.node)
}

// finding is a panel type and the version of its API; 0 is its standard one.
type finding struct {
	kind    string
	version int
}

func describe(f finding) string {
	if f.version == 0 {
		return f.kind
	}
	return fmt.Sprintf("%s, API version %d", f.kind, f.version)
}

// probe asks one question. It returns false when the answer says nothing, and an error when the panel
// could not be asked.
type probe func(ctx context.Context, c *Client) (finding, bool, error)

func (c *Client) find(ctx context.Context) (finding, error) {
	for _, ask := range []probe{sspanel, xboardV2, family, ppanel} {
		f, ok, err := ask(ctx, c)
		if err != nil || ok {
			return f, err
		}
	}
	return finding{}, &panel.Error{Call: call, Class: panel.Refused, Err: errors.New("none of SSPanel, v2board, xiaov2board, XBoard and PPanel answers here; is url the panel's address?")}
}

// sspanel looks at the one call that it answers without a node.
func sspanel(ctx context.Context, c *Client) (finding, bool, error) {
	a, err := c.get(ctx, "/mod_mu/func/ping", url.Values{"key": {c.o.Key}})
	is := finding{kind: constant.PanelSSPanel}
	switch {
	case panel.StatusOf(err) == http.StatusUnauthorized: // SSPanel, which does not like the key or the host name
		return is, true, nil
	case unasked(err):
		return finding{}, false, err
	case err != nil:
		return finding{}, false, nil
	}
	return is, has(a.Body, "ret"), nil
}

// xboardV2 asks for the handshake, which XBoard has since March 2026 and others do not.
func xboardV2(ctx context.Context, c *Client) (finding, bool, error) {
	a, err := c.get(ctx, "/api/v2/server/handshake", c.query(""))
	is := finding{kind: constant.PanelXBoard}
	switch panel.StatusOf(err) {
	case http.StatusMethodNotAllowed, http.StatusUnprocessableEntity, http.StatusBadRequest:
		return is, true, nil
	}
	switch {
	case unasked(err):
		return finding{}, false, err
	case err != nil:
		return finding{}, false, nil
	}
	return is, has(a.Body, "websocket"), nil
}

// family tells an older XBoard, xiaov2board and v2board apart: they have the same calls.
func family(ctx context.Context, c *Client) (finding, bool, error) {
	a, err := c.get(ctx, "/api/v1/server/UniProxy/config", c.query(""))
	switch code := panel.StatusOf(err); {
	case err == nil:
		return finding{constant.PanelXBoard, 1}, has(a.Body, "server_port"), nil
	case code == http.StatusBadRequest, code == http.StatusUnprocessableEntity:
		return finding{constant.PanelXBoard, 1}, true, nil
	case code != http.StatusInternalServerError:
		if unasked(err) {
			return finding{}, false, err
		}
		return finding{}, false, nil
	}
	switch said := panel.SaidIn(err); said {
	case "server is not exist", "token is error", "token is null":
	default:
		return finding{}, false, err // it fails, and that says nothing about what it is
	}
	// xiaov2board has a second version of the settings call. A node that is there is of that version.
	a, err = c.get(ctx, "/api/v2/server/config", c.query(""))
	switch {
	case unasked(err):
		return finding{}, false, err
	case err == nil && has(a.Body, "server_port") && c.node.Type == "":
		return finding{constant.PanelXiaoV2board, 2}, true, nil
	case err == nil:
		return finding{constant.PanelXiaoV2board, 1}, true, nil
	}
	return c.byAliveList(ctx)
}

// byAliveList tells xiaov2board before its version 2 from v2board: it has one call more, for nodes that
// there are.
func (c *Client) byAliveList(ctx context.Context) (finding, bool, error) {
	types := []string{c.node.Type}
	if c.node.Type == "" {
		types = []string{constant.TypeVMess, constant.TypeVLESS, constant.TypeTrojan, constant.TypeShadowsocks, constant.TypeHysteria2, constant.TypeAnyTLS}
	}
	for _, kind := range types {
		a, err := c.get(ctx, "/api/v1/server/UniProxy/alivelist", c.query(kind))
		switch {
		case err == nil && has(a.Body, "alive"):
			return finding{constant.PanelXiaoV2board, 1}, true, nil
		case unasked(err) && panel.StatusOf(err) == 0:
			return finding{}, false, err
		}
	}
	return finding{kind: constant.PanelV2board}, true, nil
}

// ppanel asks for a server of version 2. A wrong key is answered with a single word.
func ppanel(ctx context.Context, c *Client) (finding, bool, error) {
	a, err := c.get(ctx, "/v2/server/"+strconv.FormatInt(c.node.ID, 10), url.Values{"secret_key": {c.o.Key}})
	is := finding{kind: constant.PanelPPanel}
	switch {
	case panel.StatusOf(err) == http.StatusUnauthorized:
		return is, true, nil
	case unasked(err):
		return finding{}, false, err
	case err != nil:
		return finding{}, false, nil
	}
	return is, has(a.Body, "code") && has(a.Body, "msg"), nil
}

func (c *Client) query(kind string) url.Values {
	q := url.Values{"token": {c.o.Key}, "node_id": {strconv.FormatInt(c.node.ID, 10)}}
	if kind != "" {
		q.Set("node_type", kind)
	}
	return q
}

func (c *Client) get(ctx context.Context, path string, query url.Values) (*webapi.Answer, error) {
	return c.call.Get(ctx, call, path, query, new(webapi.Validator))
}

// has tells whether body is a JSON object with that member.
func has(body []byte, member string) bool {
	found := false
	err := phpjson.Decode(body, func(it *jsoniter.Iterator) {
		phpjson.Object(it, func(name string) bool {
			found = found || name == member
			it.Skip()
			return true
		})
	})
	return err == nil && found
}

// unasked tells whether err leaves open what answers there: nothing did, or something that is ill.
func unasked(err error) bool {
	var e *panel.Error
	return errors.As(err, &e) && e.Class != panel.Refused
}

// errUnknown fails the calls before detection. Nothing was sent, so nothing is in doubt.
var errUnknown = errors.New("the panel's type is not known yet")

func unknown(call string) error {
	return &panel.Error{Call: call, Class: panel.Unreachable, Err: errUnknown}
}

// Node implements panel.Client.
func (*Client) Node(context.Context) (*panel.Node, error) { return nil, unknown("get settings") }

// Users implements panel.Client.
func (*Client) Users(context.Context) ([]adapter.Account, error) { return nil, unknown("get users") }

// ReportTraffic implements panel.Client.
func (*Client) ReportTraffic(context.Context, []meter.Traffic) error {
	return unknown("report traffic")
}

// ReportOnline implements panel.Client.
func (*Client) ReportOnline(context.Context, []meter.Online) error { return unknown("report online") }

var _ panel.Detector = (*Client)(nil)
