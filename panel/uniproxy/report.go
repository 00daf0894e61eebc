package uniproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	jsoniter "github.com/json-iterator/go"

	"heki/internal/meter"
	"heki/panel"
	"heki/panel/machine"
	"heki/panel/phpjson"
	"heki/panel/webapi"
)

// ReportTraffic implements panel.Client. Users without an id are not the panel's and left out.
func (c *Client) ReportTraffic(ctx context.Context, users []meter.Traffic) error {
	body := appendTraffic(nil, users)
	if len(body) == len("{}") {
		return nil
	}
	return c.push(ctx, body)
}

func (c *Client) push(ctx context.Context, body []byte) error {
	a, err := c.call.Post(ctx, callPush, c.Path+"push", c.Query, body)
	if err != nil {
		return c.judge(err)
	}
	c.pushed = c.now()
	if err = Settled(callPush, a); err == nil {
		c.fits()
	}
	return err
}

// appendTraffic writes {"1":[up,down],…}.
func appendTraffic(b []byte, users []meter.Traffic) []byte {
	b = append(b, '{')
	start := len(b)
	for _, u := range users {
		if u.ID <= 0 || u.Up == 0 && u.Down == 0 {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = strconv.AppendInt(b, u.ID, 10)
		b = append(b, `":[`...)
		b = strconv.AppendInt(b, u.Up, 10)
		b = append(b, ',')
		b = strconv.AppendInt(b, u.Down, 10)
		b = append(b, ']')
	}
	return append(b, '}')
}

// ReportOnline implements panel.Client. The panel keeps a user's addresses for minutes unless told
// otherwise, so those who left are sent with an empty list, which clears them.
func (c *Client) ReportOnline(ctx context.Context, online []meter.Online) error {
	if err := c.sign(ctx); err != nil {
		return err
	}
	if c.NoAlive {
		return nil
	}
	now := make(map[int64]struct{}, len(online))
	body := c.appendOnline(nil, online, now)
	if len(body) == len("{}") {
		return nil
	}
	a, err := c.call.Post(ctx, callAlive, c.Path+"alive", c.Query, body)
	if panel.StatusOf(err) == http.StatusNotFound && c.Proven() {
		c.NoAlive = true
		c.say(slog.LevelInfo, `the panel takes no online addresses: it has no "alive" call`)
		return nil
	}
	err = c.judge(err)
	if err == nil {
		err = Settled(callAlive, a)
	}
	if err == nil {
		c.fits()
	}
	c.noteOnline(now, err)
	return err
}

// signEvery is how often a panel that wants it is sent an empty push: without a push for 300 s it shows
// the node as half alive.
const signEvery = 4 * time.Minute

// sign pushes nothing, when nothing was pushed for long.
func (c *Client) sign(ctx context.Context) error {
	if !c.Signs || c.now().Sub(c.pushed) < signEvery {
		return nil
	}
	return c.push(ctx, []byte("{}"))
}

// appendOnline writes {"1":["192.0.2.1"],"2":[]} and notes in now who has addresses.
func (c *Client) appendOnline(b []byte, online []meter.Online, now map[int64]struct{}) []byte {
	b = append(b, '{')
	start := len(b)
	next := func(id int64) {
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = strconv.AppendInt(b, id, 10)
		b = append(b, `":[`...)
	}
	for _, u := range online {
		if u.ID <= 0 || len(u.IPs) == 0 {
			continue
		}
		now[u.ID] = struct{}{}
		next(u.ID)
		for i, ip := range u.IPs {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, '"')
			b = ip.AppendTo(b)
			b = append(b, '"')
		}
		b = append(b, ']')
	}
	for id := range c.online {
		if _, on := now[id]; !on {
			next(id)
			b = append(b, ']')
		}
	}
	return append(b, '}')
}

// PostStatus tells an XBoard how the machine does. Its older versions have no such call.
func (c *Client) PostStatus(ctx context.Context, s machine.State) error {
	if c.noStatus {
		return nil
	}
	a, err := c.call.Post(ctx, callStatus, c.Path+"status", c.Query, appendStatus(nil, s))
	if c.proven && (panel.StatusOf(err) == http.StatusNotFound || panel.StatusOf(err) == http.StatusMethodNotAllowed) {
		c.noStatus = true
		return nil
	}
	if err != nil {
		return c.judge(err)
	}
	return Settled(callStatus, a)
}

// appendStatus writes what the panel requires: percent, and whole bytes.
func appendStatus(b []byte, s machine.State) []byte {
	usage := func(name string, u machine.Usage) {
		b = fmt.Appendf(b, `,%q:{"total":%d,"used":%d}`, name, u.Total, u.Used)
	}
	b = fmt.Appendf(b, `{"cpu":%.1f`, s.CPU)
	usage("mem", s.Memory)
	usage("swap", s.Swap)
	usage("disk", s.Disk)
	return append(b, '}')
}

// Settled reads the answer to a report: {"data":true}, alone or in an envelope with a status. Anything
// that cannot be read leaves open whether the panel acted.
func Settled(call string, a *webapi.Answer) error {
	var status string
	var done, hasData bool
	err := phpjson.Decode(a.Body, func(it *jsoniter.Iterator) {
		if it.WhatIsNext() != jsoniter.ObjectValue {
			phpjson.Fail(it, "is not an object")
			return
		}
		phpjson.Object(it, func(name string) bool {
			switch {
			case name == "status":
				status = phpjson.Text(it)
			case name == "data" && it.WhatIsNext() == jsoniter.BoolValue:
				hasData, done = true, it.ReadBool()
			default:
				it.Skip()
			}
			return true
		})
	})
	fail := &panel.Error{Call: call, Status: a.Status}
	switch {
	case err != nil:
		fail.Class, fail.Err = panel.Unclear, fmt.Errorf("answer: %w", err)
	case status == "fail" || status == "error" || hasData && !done:
		fail.Class, fail.Err = panel.Refused, errors.New("the panel says it failed")
		if text := webapi.Message(a.Body); text != "" {
			fail.Err = errors.New(text)
		}
	case done:
		return nil
	default:
		fail.Class, fail.Err = panel.Unclear, errors.New("answer: neither success nor failure")
	}
	return fail
}
