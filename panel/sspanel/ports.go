package sspanel

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"heki/adapter"
	"heki/constant"
	"heki/option"
	"heki/panel"
)

// A node of sort 0 is described by its users' rows: ports that users share are rows of carriers, users
// who exist for nothing else, and every other user may have a port, too. Source: reference/panels.md §3.4.

// onlyShared and onlyOwn are values of mu_only; 0 is both.
const (
	onlyShared = 1
	onlyOwn    = -1
)

// Values of is_multi_user: what a carrier's port tells users by, where it could do it by more than one.
const byHost = 1

// byRows returns a node of sort 0. Its settings are in the users' answer, so that is asked for here, and
// kept for Users.
func (c *Client) byRows(ctx context.Context) (*panel.Node, error) {
	c.listed = nil
	p, err := c.fetchUsers(ctx)
	if err != nil {
		return nil, err
	}
	node, accounts := p.ports(c.ports.muOnly)
	if len(p.rows) == 0 && c.shape != nil { // nobody is no reason to become another kind of node
		node = c.shape
	}
	if err := node.Check(c.id); err != nil {
		return nil, fmt.Errorf("%s: %w", callUsers, err)
	}
	if len(p.rows) > 0 {
		c.shape = node
	}
	c.listed = &accounts
	c.tell(p)
	return node, nil
}

// ports makes a node and its accounts of the rows.
func (p *userParser) ports(muOnly int64) (*panel.Node, []adapter.Account) {
	if !p.carriers { // a panel after 2022-12-01, which has none; what mu_only says is left from before
		muOnly = onlyOwn
	}
	r := reader{p: p, muOnly: muOnly, taken: make(map[uint16]int64), passwords: make(map[string]int64)}
	return r.node(), r.accounts
}

// reader makes a node and accounts of rows.
type reader struct {
	p         *userParser
	muOnly    int64
	taken     map[uint16]int64 // who has a port
	passwords map[string]int64 // who has a password, where that tells users apart
	accounts  []adapter.Account
}

// node decides by the carriers alone what the node is: any user may choose how his own port speaks, and
// must not be able to turn everybody's node into another.
func (r *reader) node() *panel.Node {
	var shared []option.SSRExtraPort
	var trial *row // a carrier whose port tells users apart by trying their passwords
	for i := range r.p.rows {
		u := &r.p.rows[i]
		if u.carrier == 0 || r.muOnly == onlyOwn {
			continue
		}
		switch port, err := r.carrier(u); {
		case err != nil:
			r.p.skip("carrier %d: %v", u.id, err)
		case port != nil:
			shared = append(shared, *port)
		case trial != nil:
			r.p.skip("carrier %d: port %d is not served beside port %d, as a node has one port with passwords", u.id, u.port, trial.port)
		default:
			trial = u
		}
	}
	if r.muOnly == onlyShared && trial == nil && len(shared) == 0 {
		r.p.skip("all users: the node has single ports only, and no port of a carrier is served")
	}
	if trial == nil || len(shared) > 0 {
		if trial != nil {
			r.p.skip("carrier %d: port %d tells users apart by password, and is not served beside ports of ShadowsocksR; give it a node of its own", trial.id, trial.port)
		}
		r.portUsers(len(shared) > 0)
		return &panel.Node{Protocol: constant.TypeShadowsocksR, Ports: shared}
	}
	if r.muOnly != onlyShared {
		r.p.skip("ports of users are not served beside the shared port %d, which tells users apart by password; set the node to single ports only", trial.port)
	}
	r.passwordUsers()
	return &panel.Node{Protocol: constant.TypeShadowsocks, Port: uint16(trial.port), Cipher: option.SSRName(trial.method)}
}

// carrier returns the port that users share, or nil if it tells them apart by password.
func (r *reader) carrier(u *row) (*option.SSRExtraPort, error) {
	if err := r.take(u); err != nil {
		return nil, err
	}
	port := &option.SSRExtraPort{ListenPort: uint16(u.port), SSRPort: option.SSRPort{
		Method: option.SSRName(u.method), Password: u.password,
		Protocol: option.SSRName(u.protocol), ProtocolParam: u.protocolParam, Obfs: option.SSRName(u.obfs),
	}} // obfs_param would be the one host of all
	knows, hosts := port.Protocol != plainProtocol, port.Obfs != plainObfs
	if !knows && !hosts {
		if !aead(port.Method) {
			return nil, fmt.Errorf("method %q with origin and plain tells no users apart", port.Method)
		}
		return nil, nil
	}
	if err := served(port.SSRPort); err != nil {
		return nil, err
	}
	if u.password == "" {
		return nil, errors.New("has no passwd")
	}
	port.Mode = option.SSRProtocol
	if hosts && (!knows || u.carrier == byHost) {
		port.Mode = option.SSRObfs
	}
	return port, nil
}

const (
	plainProtocol = "origin"
	plainObfs     = "plain"
)

// aead says whether clients of shared ports are told apart by their password with method. How those of
// Shadowsocks 2022 would be made of passwords no panel says.
func aead(method string) bool {
	return slices.Contains(option.ShadowsocksMethods(), method) && option.ShadowsocksKeySize(method) == 0
}

// served names the layer that heki does not serve.
func served(p option.SSRPort) error {
	for _, layer := range []struct {
		what, name string
		all        []string
	}{
		{"method", p.Method, option.SSRMethods()},
		{"protocol", p.Protocol, option.SSRProtocols()},
		{"obfs", p.Obfs, option.SSRObfsNames()},
	} {
		if !slices.Contains(layer.all, layer.name) {
			return fmt.Errorf("%s %.32q is not served", layer.what, layer.name)
		}
	}
	return nil
}

// take gives the port of u to u unless somebody has it.
func (r *reader) take(u *row) error {
	if u.port <= 0 || u.port > math.MaxUint16 {
		return fmt.Errorf("port is %d, must be 1 to 65535", u.port)
	}
	port := uint16(u.port)
	if first, taken := r.taken[port]; taken {
		return fmt.Errorf("port %d is user %d's", port, first)
	}
	r.taken[port] = u.id
	return nil
}

// users calls add with every row that is somebody's.
func (r *reader) users(add func(u *row, a adapter.Account)) {
	for i := range r.p.rows {
		u := &r.p.rows[i]
		switch {
		case u.carrier != 0:
		case u.password == "":
			r.p.skip("user %d: has no passwd", u.id)
		default:
			a := r.p.account(u)
			a.Password = u.password
			add(u, a)
		}
	}
}

// passwordUsers adds those of a port that tells users apart by password, so no two may have the same.
func (r *reader) passwordUsers() {
	r.users(func(u *row, a adapter.Account) {
		if first, twice := r.passwords[u.password]; twice {
			r.p.skip("user %d: has the password of user %d, by which users are told apart", u.id, first)
			return
		}
		r.passwords[u.password] = u.id
		r.accounts = append(r.accounts, a)
	})
}

// portUsers adds those who share ports, have one of their own, or both.
func (r *reader) portUsers(shared bool) {
	r.users(func(u *row, a adapter.Account) {
		if shared && u.id > math.MaxUint32 {
			r.p.skip("user %d: clients of shared ports can say ids up to %d", u.id, uint32(math.MaxUint32))
			return
		}
		// As the panel has them: the user's host is made of that. Behind # of obfs_param is what clients send.
		hosts, _, _ := strings.Cut(u.obfsParam, "#")
		a.SSR = adapter.SSR{Method: u.method, Protocol: u.protocol, ProtocolParam: u.protocolParam, Obfs: u.obfs, ObfsParam: hosts}
		if r.muOnly != onlyShared {
			if err := r.own(u); err == nil {
				a.Port = uint16(u.port)
			} else {
				r.p.skip("the port of user %d: %v", u.id, err)
			}
		}
		if shared || a.Port != 0 {
			r.accounts = append(r.accounts, a)
		}
	})
}

// own gives a user his port if heki serves how it speaks.
func (r *reader) own(u *row) error {
	err := served(option.SSRPort{Method: option.SSRName(u.method), Protocol: option.SSRName(u.protocol), Obfs: option.SSRName(u.obfs)})
	if err != nil {
		return err
	}
	return r.take(u)
}
