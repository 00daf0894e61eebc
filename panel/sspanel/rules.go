package sspanel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	jsoniter "github.com/json-iterator/go"

	"heki/panel"
	"heki/panel/phpjson"
)

// ofText is the type of a detection rule on text; others are on a packet's hexadecimal digits.
const ofText = 1

// Rules implements panel.RuleSource: the detection rules, which hold on every node. heki matches them
// against destinations; those on hexadecimal digits need the packets themselves and are left out.
func (c *Client) Rules(ctx context.Context) ([]panel.Rule, error) {
	a, err := c.call.Get(ctx, callRules, "/mod_mu/func/detect_rules", c.key, &c.rules)
	if errors.Is(err, panel.ErrNotModified) {
		return nil, err
	}
	if err != nil {
		return nil, hint(err)
	}
	var rules []panel.Rule
	var skipped int
	err = open(callRules, a, func(it *jsoniter.Iterator) {
		phpjson.List(it, func() {
			id, kind, pattern := rule(it)
			switch {
			case kind != ofText:
				skipped++
			case pattern != "":
				rules = append(rules, panel.Rule{ID: id, Lines: []string{"regexp:" + pattern}})
			}
		})
	})
	if err != nil {
		return nil, err
	}
	if skipped > 0 && skipped != c.skipped {
		c.say(slog.LevelWarn, "%d detection rules match the digits of packets, which this version does not look at; they are ignored", skipped)
	}
	c.skipped = skipped
	c.rules.Keep(a)
	return rules, nil
}

func rule(it *jsoniter.Iterator) (id, kind int64, pattern string) {
	phpjson.Object(it, func(name string) bool {
		switch name {
		case "id":
			id = phpjson.Int(it)
		case "type":
			kind = phpjson.Int(it)
		case "regex":
			pattern = phpjson.Text(it)
		default:
			it.Skip()
		}
		return true
	})
	return id, kind, pattern
}

// ReportAudit implements panel.AuditReporter.
func (c *Client) ReportAudit(ctx context.Context, hits []panel.Hit) error {
	body := []byte(`{"data":[`)
	for i, h := range hits {
		if i > 0 {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `{"list_id":%s,"user_id":%s}`, strconv.FormatInt(h.Rule, 10), strconv.FormatInt(h.User, 10))
	}
	return c.post(ctx, callAudit, "/mod_mu/users/detectlog", append(body, "]}"...))
}
