package sspanel

import (
	"cmp"
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
	count    int
	bad      int
	skipped  []string

	keep     bool // sort 0: rows in place of accounts
	rows     []row
	carriers bool          // there is a column that tells carriers
	alive    map[int64]int // addresses on all nodes, where the panel says so
}

// row is one user. Which columns there are depends on the panel's age and the node's sort.
type row struct {
	id        int64
	uuid      string
	password  string
	speed     float64 // Mbit/s
	connector int64   // devices; node_iplimit of 2022-12 to 2024-01 means the same
	alive     int64   // addresses on all nodes

	port          int64 // sort 0, as is what follows; until 2022-12 but for method
	method        string
	protocol      string
	protocolParam string
	obfs          string
	obfsParam     string
	carrier       int64 // is_multi_user
}

func (p *userParser) read(it *jsoniter.Iterator) {
	phpjson.List(it, func() {
		n := p.count
		p.count++
		u := row{protocol: plainProtocol, obfs: plainObfs}
		phpjson.Object(it, func(name string) bool {
			p.carriers = p.carriers || name == "is_multi_user"
			if p.keep {
				u.port0(it, name)
			} else {
				u.member(it, name)
			}
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
	case "alive_ip":
		u.alive = phpjson.Int(it)
	default:
		it.Skip()
	}
}

// port0 reads what rows have for nodes of sort 0.
func (u *row) port0(it *jsoniter.Iterator, name string) {
	switch name {
	case "port":
		u.port = phpjson.Int(it)
	case "method":
		u.method = phpjson.Text(it)
	case "protocol":
		u.protocol = cmp.Or(phpjson.Text(it), plainProtocol)
	case "protocol_param":
		u.protocolParam = phpjson.Text(it)
	case "obfs":
		u.obfs = cmp.Or(phpjson.Text(it), plainObfs)
	case "obfs_param":
		u.obfsParam = phpjson.Text(it)
	case "is_multi_user":
		u.carrier = phpjson.Int(it)
	default:
		u.member(it, name)
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
	case p.keep:
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
	if u.alive > 0 {
		p.alive[u.id] = int(min(u.alive, 1<<30))
	}
	if p.keep {
		p.seen[u.id] = struct{}{}
		p.rows = append(p.rows, *u)
		return
	}
	a := p.account(u)
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

// account is what all kinds of nodes take from a row.
func (p *userParser) account(u *row) adapter.Account {
	return adapter.Account{
		ID: u.id, Name: strconv.FormatInt(u.id, 10), Password: u.password, Flow: p.flow, AlterID: p.alterID,
		SpeedBytes: lower(option.MbpsToBytes(u.speed), p.speed),
		IPLimit:    int(min(max(u.connector, 0), 1<<30)),
	}
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
