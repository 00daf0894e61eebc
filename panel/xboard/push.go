package xboard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
	jsoniter "github.com/json-iterator/go"

	"heki/constant"
	"heki/panel"
	"heki/panel/phpjson"
	"heki/panel/webapi"
)

const callPush = "push"

const (
	pushDial    = 15 * time.Second
	pushSilence = 3 * time.Minute // the panel pings every 55 s
	maxEvent    = constant.MaxPanelAnswer
)

// Watch implements panel.Watcher: a WebSocket on which the panel tells of changed settings, users and
// devices. What it tells is fetched as always, so that an event that is lost or wrong does no harm.
// Source: reference/panels.md §6.7.
func (c *Client) Watch(ctx context.Context, changed func()) error {
	if c.Config != pathV2+"config" { // version 1 has no handshake
		return panel.ErrNoPush
	}
	at, err := c.handshake(ctx)
	if err != nil {
		return err
	}
	conn, err := c.dial(ctx, at)
	if err != nil {
		return &panel.Error{Call: callPush, Class: panel.Unreachable, Err: c.Caller().Plain(err)}
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxEvent)
	for {
		event, err := next(ctx, conn)
		if err != nil {
			return &panel.Error{Call: callPush, Class: panel.Unclear, Err: c.Caller().Plain(err)}
		}
		switch event {
		case "ping":
			if err := conn.Write(ctx, websocket.MessageText, []byte(`{"event":"pong"}`)); err != nil {
				return &panel.Error{Call: callPush, Class: panel.Unclear, Err: c.Caller().Plain(err)}
			}
		case "auth.success":
			c.say(slog.LevelInfo, "the panel pushes its changes")
			changed() // some may have been missed
		case "sync.config", "sync.users", "sync.user.delta", "sync.devices":
			changed()
		case "error":
			return &panel.Error{Call: callPush, Class: panel.Refused, Err: errors.New("the panel refuses the connection")}
		}
	}
}

// handshake asks whether the panel pushes, and where.
func (c *Client) handshake(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, pushDial)
	defer cancel()
	a, err := c.Caller().Get(ctx, callPush, pathV2+"handshake", c.Query, new(webapi.Validator))
	switch {
	case panel.StatusOf(err) == 404 || panel.StatusOf(err) == 405:
		return "", panel.ErrNoPush
	case err != nil:
		return "", err
	}
	var enabled bool
	var at string
	err = phpjson.Decode(a.Body, func(it *jsoniter.Iterator) {
		phpjson.Object(it, func(name string) bool {
			if name != "websocket" {
				it.Skip()
				return true
			}
			phpjson.Object(it, func(name string) bool {
				switch name {
				case "enabled":
					enabled = phpjson.Bool(it)
				case "ws_url":
					at = phpjson.Text(it)
				default:
					it.Skip()
				}
				return true
			})
			return true
		})
	})
	if err != nil {
		return "", &panel.Error{Call: callPush, Class: panel.Unclear, Err: fmt.Errorf("handshake: %w", err)}
	}
	if !enabled || at == "" {
		return "", panel.ErrNoPush
	}
	return at, nil
}

func (c *Client) dial(ctx context.Context, at string) (*websocket.Conn, error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" {
		return nil, errors.New("ws_url is no address of a WebSocket")
	}
	q := u.Query()
	for name, values := range c.Query {
		q[name] = values
	}
	u.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(ctx, pushDial)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{HTTPClient: c.Caller().Long()})
	if err != nil && resp != nil {
		return nil, fmt.Errorf("status %d instead of a WebSocket", resp.StatusCode)
	}
	if err != nil && strings.Contains(err.Error(), u.RawQuery) {
		err = errors.New("connection failed")
	}
	return conn, err
}

// next reads the name of the next event.
func next(ctx context.Context, conn *websocket.Conn) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, pushSilence)
	defer cancel()
	_, frame, err := conn.Read(ctx)
	if err != nil {
		return "", err
	}
	var event string
	err = phpjson.Decode(frame, func(it *jsoniter.Iterator) {
		phpjson.Object(it, func(name string) bool {
			if name == "event" {
				event = phpjson.Text(it)
			} else {
				it.Skip()
			}
			return true
		})
	})
	if err != nil {
		return "", fmt.Errorf("event: %w", err)
	}
	return event, nil
}

var _ panel.Watcher = (*Client)(nil)
