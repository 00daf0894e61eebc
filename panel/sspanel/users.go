package sspanel

import (
	"fmt"
	"strconv"

	jsoniter "github.com/json-iterator/go"

	"heki/adapter"
	"heki/option"
	"heki/panel/phpjson"
)

// maxSkipped bounds the users that are named one by one.
const maxSkipped = 5

// userParser reads the rows of a user answer one by one. A user whose row cannot be one is left out and
// named: one bad row must not cut off everybody else.
type userParser struct {
	terms
	accounts []adapter.Account
	seen     map[int64]struct{}
	rows     int
	bad      int
	skipped  []string
}

// row is one user. Which columns there are depends on the panel's age and the node's sort.
type row struct {
	id        int64
	uuid      string
	password  string
	speed     float64 // Mbit/s
	connector int64   // devices; node_iplimit of 2022-12 to 2024-01 means the same
}

func (p *userParser) read(it *jsoniter.Iterator) {
	phpjson.List(it, func() {
		n := p.rows
		p.rows++
		var u row
		phpjson.Object(it, func(name string) bool {
			u.member(it, name)
			return true
		})
		if it.Error == nil {
			p.add(it, n, &u)
		}
	})
}

func (u *row) member(it *jsoniter.Iterator, name string) {
	switch name {
	case "id":
		u.id = phpjson.Int(it)
	case "uuid":
		u.uuid = phpjson.Text(it)
	case "passwd":
		u.password = phpjson.Text(it)
	case "node_speedlimit":
		u.speed = phpjson.Float(it)
	case "node_connector", "node_iplimit":
		u.connector = max(u.connector, phpjson.Int(it))
	default:
		it.Skip()
	}
}

// add makes an account of a row. A trojan user's password is the text of the uuid.
func (p *userParser) add(it *jsoniter.Iterator, n int, u *row) {
	switch {
	case u.id == 0:
		phpjson.Fail(it, "[%d].id is missing", n)
		return
	case u.id < 0:
		p.skip("user %d: the id is negative", u.id)
		return
	case p.passwd && u.password == "":
		phpjson.Fail(it, "[%d].passwd is missing (user %d)", n, u.id)
		return
	case !p.passwd && u.uuid == "":
		phpjson.Fail(it, "[%d].uuid is missing (user %d)", n, u.id)
		return
	}
	if _, twice := p.seen[u.id]; twice {
		p.skip("user %d stands twice, the first one counts", u.id)
		return
	}
	a := adapter.Account{
		ID: u.id, Name: strconv.FormatInt(u.id, 10), Password: u.password, Flow: p.flow, AlterID: p.alterID,
		SpeedBytes: lower(option.MbpsToBytes(u.speed), p.speed),
		IPLimit:    int(min(max(u.connector, 0), 1<<30)),
	}
	if !p.passwd {
		uuid, err := option.ParseUUID(u.uuid)
		if err != nil {
			p.skip("user %d: uuid %v", u.id, err)
			return
		}
		a.UUID, a.Password = uuid, u.uuid
	}
	p.seen[u.id] = struct{}{}
	p.accounts = append(p.accounts, a)
}

// lower is the lower of two limits of which 0 is none.
func lower(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

func (p *userParser) skip(format string, args ...any) {
	if p.bad++; len(p.skipped) < maxSkipped {
		p.skipped = append(p.skipped, fmt.Sprintf(format, args...))
	}
}

func (p *userParser) skippedUsers() []string {
	if more := p.bad - len(p.skipped); more > 0 {
		return append(p.skipped, fmt.Sprintf("%d more", more))
	}
	return p.skipped
}
