package sspanel

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"heki/internal/meter"
	"heki/panel"
	"heki/panel/machine"
)

// ReportTraffic implements panel.Client. Users without an id are not the panel's and left out.
func (c *Client) ReportTraffic(ctx context.Context, users []meter.Traffic) error {
	body := appendTraffic(nil, users)
	if len(body) == len(`{"data":[]}`) {
		return nil
	}
	return c.post(ctx, callTraffic, "/mod_mu/users/traffic", body)
}

// ReportOnline implements panel.Client. The panel forgets an address 90 s after the last report of it.
func (c *Client) ReportOnline(ctx context.Context, online []meter.Online) error {
	body := appendOnline(nil, online)
	if len(body) == len(`{"data":[]}`) {
		return nil
	}
	return c.post(ctx, callAlive, "/mod_mu/users/aliveip", body)
}

// ReportStatus implements panel.StatusReporter. Panels since 2023-03 take no status.
func (c *Client) ReportStatus(ctx context.Context, s machine.State) error {
	if c.noStatus {
		return nil
	}
	body := fmt.Appendf(nil, `{"uptime":"%.2f","load":"%.2f %.2f %.2f"}`, s.Uptime.Seconds(), s.Load[0], s.Load[1], s.Load[2])
	a, err := c.call.Post(ctx, callStatus, c.path, c.query, body)
	if e := new(panel.Error); errors.As(err, &e) && (e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusNotFound) {
		c.noStatus = true
		return nil
	}
	if err != nil {
		return hint(err)
	}
	return open(callStatus, a, nil)
}

func (c *Client) post(ctx context.Context, call, path string, body []byte) error {
	a, err := c.call.Post(ctx, call, path, c.query, body)
	if err != nil {
		return hint(err)
	}
	return open(call, a, nil)
}

// appendTraffic writes {"data":[{"user_id":1,"u":2,"d":3}]}.
func appendTraffic(b []byte, users []meter.Traffic) []byte {
	b = append(b, `{"data":[`...)
	first := len(b)
	for _, u := range users {
		if u.ID <= 0 || u.Up == 0 && u.Down == 0 {
			continue
		}
		if len(b) > first {
			b = append(b, ',')
		}
		b = append(b, `{"user_id":`...)
		b = strconv.AppendInt(b, u.ID, 10)
		b = append(b, `,"u":`...)
		b = strconv.AppendInt(b, u.Up, 10)
		b = append(b, `,"d":`...)
		b = strconv.AppendInt(b, u.Down, 10)
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

// appendOnline writes {"data":[{"user_id":1,"ip":"192.0.2.1"}]}. The panel skips what is not a plain
// address, so zones are left out.
func appendOnline(b []byte, online []meter.Online) []byte {
	b = append(b, `{"data":[`...)
	first := len(b)
	for _, u := range online {
		if u.ID <= 0 {
			continue
		}
		for _, ip := range u.IPs {
			if len(b) > first {
				b = append(b, ',')
			}
			b = append(b, `{"user_id":`...)
			b = strconv.AppendInt(b, u.ID, 10)
			b = append(b, `,"ip":"`...)
			b = ip.Unmap().WithZone("").AppendTo(b)
			b = append(b, `"}`...)
		}
	}
	return append(b, "]}"...)
}
