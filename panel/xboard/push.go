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
// devices. All but single users is fetched as always, and those at the next poll, so that an event that is
// lost or wrong does no harm for long.
// Source: reference/panels.md §6.7.
func (c *Client) Watch(ctx context.Context, tell func(panel.News)) error {
	if c.Config != pathV2+"config" { // version 1 has no handshake
		return panel.ErrNoPush
	}
	p := pusher{call: c.Caller(), query: c.Query, say: c.say}
	return p.watch(ctx, func(e *event) {
		tell(panel.News{Users: e.delta()})
	})
}

// pusher listens on the panel's WebSocket.
type pusher struct {
	call  *webapi.Caller
	query url.Values // of the handshake and of the WebSocket
	say   func(level slog.Level, format string, args ...any)
}

// watch hands on what there is to act on, until the connection or ctx ends.
func (p *pusher) watch(ctx context.Context, hear func(*event)) error {
	at, err := p.handshake(ctx)
	if err != nil {
		return err
	}
	conn, err := p.dial(ctx, at)
	if err != nil {
		return p.fail(panel.Unreachable, p.call.Plain(err))
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxEvent)
	for {
		e, err := next(ctx, conn)
		if err != nil {
			return p.fail(panel.Unclear, p.call.Plain(err))
		}
		switch e.name {
		case "ping":
			if err := conn.Write(ctx, websocket.MessageText, []byte(`{"event":"pong"}`)); err != nil {
				return p.fail(panel.Unclear, p.call.Plain(err))
			}
		case "auth.success":
			p.say(slog.LevelInfo, "the panel pushes its changes")
			hear(e) // some may have been missed
		case "sync.config", "sync.users", eventDelta, "sync.devices", eventNodes:
			hear(e)
		case "error":
			return p.fail(panel.Refused, errors.New("the panel refuses the connection"))
		}
	}
}

func (p *pusher) fail(class panel.Class, err error) error {
	return &panel.Error{Call: callPush, Class: class, Err: err}
}

// handshake asks whether the panel pushes, and where.
func (p *pusher) handshake(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, pushDial)
	defer cancel()
	a, err := p.call.Get(ctx, callPush, pathV2+"handshake", p.query, new(webapi.Validator))
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
		return "", p.fail(panel.Unclear, fmt.Errorf("handshake: %w", err))
	}
	if !enabled || at == "" {
		return "", panel.ErrNoPush
	}
	return at, nil
}

func (p *pusher) dial(ctx context.Context, at string) (*websocket.Conn, error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" {
		return nil, errors.New("ws_url is no address of a WebSocket")
	}
	q := u.Query()
	for name, values := range p.query {
		q[name] = values
	}
	u.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(ctx, pushDial)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{HTTPClient: p.call.Long()})
	if err != nil && resp != nil {
		return nil, fmt.Errorf("status %d instead of a WebSocket", resp.StatusCode)
	}
	if err != nil && strings.Contains(err.Error(), u.RawQuery) {
		err = errors.New("connection failed")
	}
	return conn, err
}

// next reads the next event.
func next(ctx context.Context, conn *websocket.Conn) (*event, error) {
	ctx, cancel := context.WithTimeout(ctx, pushSilence)
	defer cancel()
	_, frame, err := conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	return parseEvent(frame)
}

var _ panel.Watcher = (*Client)(nil)
