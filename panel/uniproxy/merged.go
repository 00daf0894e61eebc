package uniproxy

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"heki/internal/meter"
	"heki/panel"
)

// PostReport tells an XBoard everything in one call. A panel that has no such call, or wants another shape,
// answers so before it does anything: then the error wraps panel.ErrSeparate.
func (c *Client) PostReport(ctx context.Context, r *panel.Report) error {
	if c.apart || !c.proven {
		return panel.ErrSeparate
	}
	now := make(map[int64]struct{}, len(r.Online))
	a, err := c.call.Post(ctx, callReport, c.Path+"report", c.Query, c.appendReport(nil, r, now))
	switch status := panel.StatusOf(err); status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnprocessableEntity:
		c.misfit = true
		return fmt.Errorf("%w: %w", panel.ErrSeparate, err)
	}
	if err = c.judge(err); err == nil {
		err = Settled(callReport, a)
	}
	c.noteOnline(now, err)
	if err == nil {
		c.pushed, c.misfit = c.now(), false
	}
	return err
}

// fits notes that the panel took a part after it had refused a merged report: it takes parts alone.
func (c *Client) fits() {
	if c.misfit && !c.apart {
		c.apart = true
		c.say(slog.LevelInfo, "the panel takes no merged reports: traffic and the rest go in calls of their own")
	}
}

// noteOnline remembers of whom the panel holds addresses after a report of them.
func (c *Client) noteOnline(now map[int64]struct{}, err error) {
	if err == nil {
		c.online = now
		return
	}
	for id := range now { // it may have arrived: these may need clearing too
		c.online[id] = struct{}{}
	}
}

// appendReport writes the parts that are not empty and notes in now who has addresses. Empty ones are
// skipped by the panel.
func (c *Client) appendReport(b []byte, r *panel.Report, now map[int64]struct{}) []byte {
	const none = len("{}")
	b = append(b, '{')
	part := func(name string, write func([]byte) []byte) {
		start := len(b)
		if start > 1 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, `":`...)
		value := len(b)
		if b = write(b); len(b)-value == none {
			b = b[:start]
		}
	}
	left := c.online
	part("traffic", func(b []byte) []byte { return appendTraffic(b, r.Traffic) })
	part("alive", func(b []byte) []byte { return c.appendOnline(b, r.Online, now) })
	part("online", func(b []byte) []byte { return appendConns(b, r.Online, left) })
	if r.State != nil {
		part("status", func(b []byte) []byte { return appendStatus(b, *r.State) })
	}
	part("metrics", func(b []byte) []byte { return appendMetrics(b, &r.Metrics) })
	return append(b, '}')
}

// appendConns writes {"1":3,"2":0}: open connections of users who are online, and none of those who left.
func appendConns(b []byte, online []meter.Online, left map[int64]struct{}) []byte {
	b = append(b, '{')
	start := len(b)
	add := func(id int64, conns int) {
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = strconv.AppendInt(b, id, 10)
		b = append(b, `":`...)
		b = strconv.AppendInt(b, int64(conns), 10)
	}
	here := make(map[int64]struct{}, len(online))
	for _, u := range online {
		if u.ID > 0 {
			here[u.ID] = struct{}{}
			add(u.ID, u.Conns)
		}
	}
	for id := range left {
		if _, on := here[id]; !on {
			add(id, 0)
		}
	}
	return append(b, '}')
}

// appendMetrics writes what heki knows of the members that the panel has. Seconds, and bytes per second.
func appendMetrics(b []byte, m *panel.Metrics) []byte {
	return fmt.Appendf(b, `{"uptime":%d,"goroutines":%d,"active_connections":%d,"total_connections":%d,"total_users":%d,"active_users":%d,`+
		`"inbound_speed":%d,"outbound_speed":%d,"load":[%.2f,%.2f,%.2f],"kernel_status":%t}`,
		int64(m.Uptime.Seconds()), m.Goroutines, m.Conns, m.Opened, m.Users, m.Online,
		int64(m.InSpeed), int64(m.OutSpeed), m.Load[0], m.Load[1], m.Load[2], m.Serving)
}
