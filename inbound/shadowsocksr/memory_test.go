package shadowsocksr

import (
	"errors"
	"testing"
	"time"

	"heki/adapter"
	"heki/internal/protocol/ssr"
	"heki/internal/protocol/ssr/protocol"
	"heki/option"
)

// TestMemoryOutlives: recordings are of no use after a user's port was closed and opened again, nor
// after the inbound was replaced by one with other settings.
func TestMemoryOutlives(t *testing.T) {
	dst := echo(t)
	t.Run("own port", func(t *testing.T) {
		u, _ := user(0)
		p := shared("aes-128-ctr", "auth_chain_a", "plain", option.SSRSingleUser)
		u.Port, u.SSR, p.Password = freePort(t), adapter.SSR{Method: p.Method, Protocol: p.Protocol, Obfs: p.Obfs}, u.Password
		n := start(t, &option.ShadowsocksR{SSRPort: option.SSRPort{Mode: option.SSRMultiPort}}, u)
		raw := newClient(t, p).header(u.Account, dst)
		if !replay(t, at(u.Port), raw) {
			t.Fatal("not served")
		}
		for _, users := range [][]*adapter.User{nil, {u}} {
			if err := n.SwapUsers(users); err != nil {
				t.Fatal(err)
			}
		}
		if replay(t, at(u.Port), raw) {
			t.Error("served twice")
		}
		if !replay(t, at(u.Port), newClient(t, p).header(u.Account, dst)) {
			t.Error("the port is not open again")
		}
	})
	for _, p := range []option.SSRPort{
		shared("aes-128-ctr", "auth_aes128_md5", "plain", option.SSRProtocol),
		shared("aes-128-ctr", "origin", "tls1.2_ticket_auth", option.SSRObfs),
	} {
		t.Run("replaced "+p.Obfs, func(t *testing.T) {
			u, _ := user(0)
			m := NewMemory()
			stream := option.Stream{Listen: option.Listen{ListenPort: freePort(t)}}
			n := startWith(t, m, &option.ShadowsocksR{SSRPort: p, Stream: stream}, u)
			raw := newClient(t, p).header(u.Account, dst)
			if !replay(t, n.Addresses()[0], raw) {
				t.Fatal("not served")
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			q := p
			q.ProtocolParam = "32"
			if n = startWith(t, m, &option.ShadowsocksR{SSRPort: q, Stream: stream}, u); replay(t, n.Addresses()[0], raw) {
				t.Error("served twice")
			}
		})
	}
}

// TestMemoryForgets: there are no more users in it than lately came.
func TestMemoryForgets(t *testing.T) {
	m, now, l := NewMemory(), time.Unix(1_700_000_000, 0), ssr.Limits{Clients: 1, Silence: time.Hour}
	came := func(user int64, now time.Time) (*ssr.Visit, error) {
		return m.admit(seat{"in", 1, user}, &protocol.Head{ClientID: 1, ConnID: 5}, now, l)
	}
	open, err := came(0, now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(5 * seats) {
		if i%seats == 0 {
			now = now.Add(remember + time.Second)
		}
		v, err := came(i+1, now)
		if err != nil {
			t.Fatal(err)
		}
		v.Leave()
		if n := len(m.users); n > 2*seats+2 {
			t.Fatalf("%d users are remembered", n)
		}
	}
	if _, err := came(5*seats, now); !errors.Is(err, ssr.ErrReplay) {
		t.Errorf("the last: err = %v, want ErrReplay", err)
	}
	if _, err := came(0, now); !errors.Is(err, ssr.ErrReplay) {
		t.Errorf("one with an open connection: err = %v, want ErrReplay", err)
	}
	open.Leave()
}
