package ppanel

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"heki/internal/meter"
	"heki/panel"
	"heki/panel/machine"
)

// errUnknown fails reports before the settings have told the protocol. Nothing was sent, so nothing is in
// doubt.
var errUnknown = errors.New(`the server's protocol is not known yet; "type" in the node's entry says it`)

// ReportTraffic implements panel.Client. Users without an id are not the panel's and left out.
func (c *Client) ReportTraffic(ctx context.Context, users []meter.Traffic) error {
	body := appendTraffic(nil, users)
	if len(body) == len(`{"traffic":[]}`) {
		return nil
	}
	return c.post(ctx, callPush, pathPush, body)
}

// appendTraffic writes {"traffic":[{"uid":5,"upload":1,"download":2}]}.
func appendTraffic(b []byte, users []meter.Traffic) []byte {
	b = append(b, `{"traffic":[`...)
	start := len(b)
	for _, u := range users {
		if u.ID <= 0 || u.Up == 0 && u.Down == 0 {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(b, `{"uid":`...)
		b = strconv.AppendInt(b, u.ID, 10)
		b = append(b, `,"upload":`...)
		b = strconv.AppendInt(b, u.Up, 10)
		b = append(b, `,"download":`...)
		b = strconv.AppendInt(b, u.Down, 10)
		b = append(b, '}')
	}
	return append(b, `]}`...)
}

// ReportOnline implements panel.Client. The panel takes an empty list for a mistake, and forgets who is not
// reported by itself.
func (c *Client) ReportOnline(ctx context.Context, online []meter.Online) error {
	body := appendOnline(nil, online)
	if len(body) == len(`{"users":[]}`) {
		return nil
	}
	return c.post(ctx, callOnline, pathOnline, body)
}

// appendOnline writes {"users":[{"uid":5,"ip":"192.0.2.1"}]}: a row for each address.
func appendOnline(b []byte, online []meter.Online) []byte {
	b = append(b, `{"users":[`...)
	start := len(b)
	for _, u := range online {
		if u.ID <= 0 {
			continue
		}
		for _, ip := range u.IPs {
			if len(b) > start {
				b = append(b, ',')
			}
			b = append(b, `{"uid":`...)
			b = strconv.AppendInt(b, u.ID, 10)
			b = append(b, `,"ip":"`...)
			b = ip.AppendTo(b)
			b = append(b, `"}`...)
		}
	}
	return append(b, `]}`...)
}

// ReportStatus implements panel.StatusReporter. To the panel it is the server's sign of life.
func (c *Client) ReportStatus(ctx context.Context, s machine.State) error {
	body := fmt.Appendf(nil, `{"cpu":%.1f,"mem":%.1f,"disk":%.1f,"updated_at":%d}`,
		s.CPU, percent(s.Memory), percent(s.Disk), c.env.Now().UnixMilli())
	return c.post(ctx, callStatus, pathStatus, body)
}

func percent(u machine.Usage) float64 {
	if u.Total == 0 {
		return 0
	}
	return float64(u.Used) / float64(u.Total) * 100
}

func (c *Client) post(ctx context.Context, call, path string, body []byte) error {
	if c.kind == "" {
		return &panel.Error{Call: call, Class: panel.Unreachable, Err: errUnknown}
	}
	a, err := c.call.Post(ctx, call, path, c.query, body)
	if err != nil {
		return err
	}
	return open(call, a, nil)
}
