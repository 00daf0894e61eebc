package uniproxy

import (
	"fmt"
	"strconv"

	jsoniter "github.com/json-iterator/go"

	"heki/adapter"
	"heki/option"
	"heki/panel/phpjson"
)

// maxSpeedMbps bounds what can be counted in bytes per second: 10 Tbit/s.
const maxSpeedMbps = 1e7

// maxSkipped bounds the users that are named one by one.
const maxSkipped = 5

// ParseUsers reads a user answer in one pass, without a tree in between. Each account gets flow.
// A user whose id is taken or whose uuid cannot be one is left out and named in skipped: one bad row
// must not cut off everybody else.
func ParseUsers(body []byte, flow string) (accounts []adapter.Account, skipped []string, err error) {
	p, err := parseUsers(body, flow)
	if err != nil {
		return nil, nil, err
	}
	return p.accounts, p.skipped, nil
}

func parseUsers(body []byte, flow string) (*userParser, error) {
	const perUser = 90 // bytes of a row with short numbers
	p := &userParser{flow: flow}
	p.accounts = make([]adapter.Account, 0, len(body)/perUser+1)
	p.seen = make(map[int64]struct{}, cap(p.accounts))
	found := false
	err := phpjson.Decode(body, func(it *jsoniter.Iterator) {
		phpjson.Object(it, func(name string) bool {
			if name != "users" {
				it.Skip()
				return true
			}
			found = it.WhatIsNext() != jsoniter.NilValue
			phpjson.List(it, func() { p.user(it) })
			return true
		})
	})
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, fmt.Errorf("users is missing")
	}
	if more := p.bad - len(p.skipped); more > 0 {
		p.skipped = append(p.skipped, fmt.Sprintf("%d more", more))
	}
	return p, nil
}

type userParser struct {
	flow     string
	accounts []adapter.Account
	seen     map[int64]struct{}
	rows     int
	bad      int
	skipped  []string
	alive    map[int64]int // addresses over all nodes, where rows have them; nil: none has
}

// user reads one row.
func (p *userParser) user(it *jsoniter.Iterator) {
	row := p.rows
	p.rows++
	var (
		id    int64
		text  string
		speed float64
		limit int64
		alive int64 = -1
	)
	phpjson.Object(it, func(name string) bool {
		switch name {
		case "id":
			id = phpjson.Named(it, "id", phpjson.Int)
		case "uuid":
			text = phpjson.Text(it)
		case "speed_limit":
			speed = phpjson.Named(it, "speed_limit", phpjson.Float)
		case "device_limit":
			limit = phpjson.Named(it, "device_limit", phpjson.Int)
		case "alive_ip": // xiaov2board until August 2024, before it had alivelist
			alive = phpjson.Named(it, "alive_ip", phpjson.Int)
		default:
			it.Skip()
		}
		return true
	})
	switch {
	case it.Error != nil:
		return
	case id == 0:
		phpjson.Fail(it, "users[%d].id is missing", row)
		return
	case id < 0:
		p.skip("user %d: the id is negative", id)
		return
	case text == "":
		phpjson.Fail(it, "users[%d].uuid is missing (user %d)", row, id)
		return
	}
	if _, dup := p.seen[id]; dup {
		p.skip("user %d stands twice, the first one counts", id)
		return
	}
	uuid, err := option.ParseUUID(text)
	if err != nil {
		p.skip("user %d: uuid %v", id, err)
		return
	}
	p.seen[id] = struct{}{}
	if alive >= 0 {
		if p.alive == nil {
			p.alive = make(map[int64]int)
		}
		p.alive[id] = int(min(alive, 1<<30))
	}
	p.accounts = append(p.accounts, adapter.Account{
		ID:         id,
		Name:       strconv.FormatInt(id, 10),
		UUID:       uuid,
		Password:   text,
		Flow:       p.flow,
		SpeedBytes: int64(min(max(speed, 0), maxSpeedMbps) * 125000),
		IPLimit:    int(min(max(limit, 0), 1<<30)),
	})
}

func (p *userParser) skip(format string, args ...any) {
	if p.bad++; len(p.skipped) < maxSkipped {
		p.skipped = append(p.skipped, fmt.Sprintf(format, args...))
	}
}
