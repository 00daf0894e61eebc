package outbound

import (
	"context"
	"errors"
	"testing"

	"heki/adapter"
	"heki/option"
)

// joining is closed, and counted, with what it joins.
type joining struct{ closing }

func (*joining) Join(get func(string) adapter.Outbound) error {
	if get("direct") == nil || get("none") != nil {
		return errors.New("joined with others")
	}
	return nil
}

// TestSetClosesWithLastUse: what connections share with others stays open for those of a set that was
// replaced, and what looks after itself, a group's check, does not.
func TestSetClosesWithLastUse(t *testing.T) {
	direct, block, group := new(closing), new(closing), new(joining)
	r := NewRegistry()
	Register(r, "direct", func(Env, string, *option.Direct) (adapter.Outbound, error) { return direct, nil })
	Register(r, "block", func(Env, string, *option.Block) (adapter.Outbound, error) { return block, nil })
	Register(r, "group", func(Env, string, *option.Group) (adapter.Outbound, error) { return group, nil })
	s, err := NewSet(r, Env{}, []option.Outbound{{Type: "group", Tag: "g", Options: new(option.Group)}})
	if err != nil {
		t.Fatal(err)
	}
	used, ok := s.Get("g").(interface {
		Take() bool
		Release()
	})
	if !ok || !used.Take() {
		t.Fatal("not taken into use")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if direct.closed != 0 || block.closed != 0 || group.closed != 1 {
		t.Errorf("closed %d, %d and %d times while a connection uses the set, want the group alone", direct.closed, block.closed, group.closed)
	}
	used.Release()
	if direct.closed != 1 || block.closed != 1 || group.closed != 1 {
		t.Errorf("closed %d, %d and %d times after the last connection, want once each", direct.closed, block.closed, group.closed)
	}
	if used.Take() {
		t.Error("taken into use when closed")
	}
}

// TestSetFails: what was built before a mistake is closed.
func TestSetFails(t *testing.T) {
	direct := new(closing)
	r := NewRegistry()
	Register(r, "direct", func(Env, string, *option.Direct) (adapter.Outbound, error) { return direct, nil })
	Register(r, "block", func(Env, string, *option.Block) (adapter.Outbound, error) { return nil, context.Canceled })
	if _, err := NewSet(r, Env{}, nil); !errors.Is(err, context.Canceled) || direct.closed != 1 {
		t.Errorf("err = %v, closed %d times", err, direct.closed)
	}
}
