package vmess

import (
	"context"
	"errors"
	"fmt"
	"time"

	"heki/adapter"
	"heki/inbound"
	"heki/inbound/internal/match"
	"heki/internal/protocol/vmess"
)

// Errors of clients that know a user's key and are refused all the same.
var (
	errClock  = errors.New("the client's clock is off")
	errReplay = errors.New("replayed request")
)

// attempt is one connection until its request is through. It remembers who the client is between
// parts of the header: looking that up again for each would be work for free.
type attempt struct {
	in    *Inbound
	ctx   context.Context
	md    *adapter.Metadata
	plain [vmess.AuthIDSize]byte // scratch

	who    *entry // nil until known
	legacy bool
	unix   int64 // the time in the auth id
}

// parse is for inbound.ReadHeader.
func (a *attempt) parse(b []byte) (vmess.Request, int, error) {
	if len(b) < vmess.AuthIDSize {
		return vmess.Request{}, 0, vmess.ErrShort
	}
	now := a.in.env.Time()
	if a.who == nil {
		if err := a.identify(b[:vmess.AuthIDSize], now); err != nil {
			return vmess.Request{}, 0, err
		}
	}
	open := vmess.OpenRequest
	if a.legacy {
		open = func(b []byte, cmdKey [16]byte) (vmess.Request, int, error) {
			return vmess.OpenLegacyRequest(b, cmdKey, a.unix)
		}
	}
	req, n, err := open(b, a.who.cmdKey)
	if err == nil && !a.in.memory.sessions.First(now, a.who.uuid[:], req.Key[:], req.IV[:]) {
		err = errReplay
	}
	if err != nil {
		if a.legacy && !errors.Is(err, vmess.ErrShort) {
			a.in.legacy.burn(b[:vmess.AuthIDSize], now)
		}
		return vmess.Request{}, 0, err
	}
	return req, n, nil
}

// identify finds whose auth id it is: first those last seen from that address, then those seen lately,
// then everybody.
func (a *attempt) identify(id []byte, now time.Time) error {
	users := a.in.users.Load()
	who, unix := a.cached(users, id, now)
	if who == nil && len(users.blocks) > 2*match.RecentSize {
		who, unix = a.recent(users, id)
	}
	if who == nil && users.md5 {
		if name, unix, ok := a.in.legacy.find(id, now); ok {
			if who, ok := users.find(name); ok {
				a.who, a.unix, a.legacy = who, unix, true
				return nil
			}
		}
	}
	if who == nil {
		var err error
		if who, unix, err = a.scan(users, id); err != nil {
			return err
		}
	}
	if who == nil {
		return inbound.ErrUnknownUser
	}
	if skew := unix - now.Unix(); skew < -vmess.Window || skew > vmess.Window {
		a.in.noteClock(who.user, skew, now, a.md)
		return fmt.Errorf("%w by %d s", errClock, skew)
	}
	if !a.in.memory.authIDs.First(now, id) {
		return errReplay
	}
	a.in.memory.Sources.Note(a.md.Source.Addr(), who.id, now)
	a.in.recent.Note(who.keys)
	a.who, a.unix = who, unix
	return nil
}

// cached tries those last seen from the client's address.
func (a *attempt) cached(users *set, id []byte, now time.Time) (*entry, int64) {
	var names [match.SourceUsers]match.UserID
	n := a.in.memory.Sources.Lookup(a.md.Source.Addr(), now, &names)
	for _, name := range names[:n] {
		who, ok := users.findAEAD(name)
		if !ok {
			continue
		}
		if unix, ok := vmess.OpenAuthID(who.block, id, &a.plain); ok {
			return who, unix
		}
	}
	return nil, 0
}

// recent tries those who authenticated lately; those who are not in users any more count for nothing.
func (a *attempt) recent(users *set, id []byte) (*entry, int64) {
	for i := range match.RecentSize {
		k := a.in.recent.At(i)
		if k == nil {
			break
		}
		unix, ok := vmess.OpenAuthID(k.block, id, &a.plain)
		if !ok {
			continue
		}
		if who, ok := users.findAEAD(k.id); ok && who.uuid == k.uuid {
			return who, unix
		}
	}
	return nil, 0
}

// smallScan is how many users are tried without waiting for a turn: 10 µs, less than the connection
// has cost already.
const smallScan = 512

// scan tries everybody. Only as many scans as the memory has turns run at once, so that those who are
// nobody, each of whom costs a whole scan, leave cores to those who are.
func (a *attempt) scan(users *set, id []byte) (*entry, int64, error) {
	if len(users.blocks) > smallScan {
		if err := a.in.memory.turns.Take(a.ctx, a.md.Source.Addr(), a.in.patience); err != nil {
			return nil, 0, err
		}
		defer a.in.memory.turns.Done()
	}
	who, unix := users.scan(id, &a.plain)
	return who, unix, nil
}

// clockPause is how often a wrong clock is logged: whoever recorded a request can show an old one.
const clockPause = 10 * time.Second

func (in *Inbound) noteClock(u *adapter.User, skew int64, now time.Time, md *adapter.Metadata) {
	last := in.clockNoted.Load()
	if now.Unix()-last < int64(clockPause/time.Second) || !in.clockNoted.CompareAndSwap(last, now.Unix()) {
		return
	}
	in.log.Info("the client's clock is off by more than two minutes, or its request is an old one; set the device's clock",
		"user", u.Name, "ahead", (time.Duration(skew) * time.Second).String(), "from", md.Source.String())
}
