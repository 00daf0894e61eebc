package inbound

import (
	"fmt"
	"sync/atomic"

	"heki/adapter"
)

// Table finds users by a protocol's key without locks. The set is replaced whole: a reader sees the
// old one or the new one, never a mixture.
type Table[K comparable] struct {
	users atomic.Pointer[map[K]*adapter.User]
}

// Lookup returns the user with that key.
func (t *Table[K]) Lookup(key K) (*adapter.User, bool) {
	users := t.users.Load()
	if users == nil {
		return nil, false
	}
	u, ok := (*users)[key]
	return u, ok
}

// Len returns the number of users.
func (t *Table[K]) Len() int {
	if users := t.users.Load(); users != nil {
		return len(*users)
	}
	return 0
}

// Swap publishes users as the complete set. When keyOf refuses a user, or two users share a key, the
// old set stays and the error names them.
func (t *Table[K]) Swap(users []*adapter.User, keyOf func(*adapter.User) (K, error)) error {
	next := make(map[K]*adapter.User, len(users))
	for _, u := range users {
		key, err := keyOf(u)
		if err != nil {
			return fmt.Errorf("user %q: %w", u.Name, err)
		}
		if first, dup := next[key]; dup {
			return fmt.Errorf("users %q and %q have the same credential", first.Name, u.Name)
		}
		next[key] = u
	}
	t.users.Store(&next)
	return nil
}
