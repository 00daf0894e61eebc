package app

import (
	"heki/adapter"
	"heki/option"
)

// ssrAccounts are the users of o. A port of mode single_user is somebody's though there are none.
func ssrAccounts(o *option.ShadowsocksR) []adapter.Account {
	if len(o.Users) == 0 {
		return []adapter.Account{{Name: "user"}}
	}
	accounts := make([]adapter.Account, len(o.Users))
	for i, u := range o.Users {
		a := account(i, u.User)
		a.Password, a.Port = u.Password, u.ListenPort
		a.SSR = adapter.SSR{
			Method: u.Method, Protocol: u.Protocol, ProtocolParam: u.ProtocolParam, Obfs: u.Obfs, ObfsParam: u.ObfsParam,
		}
		accounts[i] = a
	}
	return accounts
}
