package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// A datagram may be lost even on loopback when a queue is full: it is sent again after a second, as
// often as a busy machine may need.
const (
	udpTries = 20
	udpWait  = time.Second
)

// Cone says what a lane's way to carry UDP can do.
type Cone int

const (
	// Symmetric is one stream per destination: VLESS's UDP command. sing-box cannot ask it for a
	// name: its own client drops the answers ("packet download closed: unsupported address").
	Symmetric Cone = iota
	FullIP         // one stream for all destinations, which are addresses: packetaddr
	Full           // the same, and names work too
	NoUDP          // the client cannot
)

// CheckUDP sends datagrams of 1 to 1200 bytes to two targets through one association and proves
// endpoint-independent mapping and filtering where the lane can have them.
func CheckUDP(t testing.TB, s Socks, to *Targets, cone Cone) {
	if cone == NoUDP {
		return
	}
	Part(t, "echo", func(t testing.TB) {
		first := associate(t, s)
		second := first
		if cone == Symmetric {
			second = associate(t, s)
		}
		for _, size := range []int{1, 2, 64, 512, 1000, 1199, 1200} {
			for i, a := range []*Association{first, second} {
				payload := bytes.Repeat([]byte{byte('a' + i)}, size)
				exchange(t, a, to.UDP[i], payload)
			}
		}
	})
	if cone == Full {
		Part(t, "domain", func(t testing.TB) {
			exchange(t, associate(t, s), ByName(to.UDP[0]), []byte("by name"))
		})
	}
	if cone != Symmetric {
		Part(t, "full cone", func(t testing.TB) { checkFullCone(t, s, to) })
	}
}

func associate(t testing.TB, s Socks) *Association {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	a, err := s.Associate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// exchange sends payload until it comes back, checks that the answer names destination's port (and
// its address, unless that was a name) and returns the answer.
func exchange(t testing.TB, a *Association, destination string, payload []byte) []byte {
	t.Helper()
	for try := range udpTries {
		if err := a.Send(destination, payload); err != nil {
			t.Fatal(err)
		}
		source, answer, err := await(a, payload)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Logf("try %d: no answer from %s to %d bytes", try+1, destination, len(payload))
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !sameTarget(source, destination) {
			t.Errorf("answer of %s comes from %s", destination, source)
		}
		return answer
	}
	t.Fatalf("%s did not answer %d bytes in %d tries", destination, len(payload), udpTries)
	return nil
}

// await skips answers to earlier tries.
func await(a *Association, prefix []byte) (source string, answer []byte, err error) {
	for deadline := time.Now().Add(udpWait); ; {
		source, answer, err = a.Receive(time.Until(deadline))
		if err != nil || bytes.HasPrefix(answer, prefix) && (len(answer) == len(prefix) || bytes.HasPrefix(prefix, tell)) {
			return source, answer, err
		}
	}
}

func sameTarget(source, destination string) bool {
	host, port, err := net.SplitHostPort(destination)
	if err != nil || host != "localhost" {
		return source == destination
	}
	return strings.HasSuffix(source, ":"+port)
}

// checkFullCone asks both targets which address they see, wants one and the same, and lets a
// stranger send to it.
func checkFullCone(t testing.TB, s Socks, to *Targets) {
	a := associate(t, s)
	mapped := mappedAddress(t, a, to.UDP[0])
	if second := mappedAddress(t, a, to.UDP[1]); second != mapped {
		t.Errorf("mapping depends on the destination: %s for one, %s for the other", mapped, second)
	}
	stranger, err := net.ListenPacket("udp", Loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	address, err := net.ResolveUDPAddr("udp", mapped)
	if err != nil {
		t.Fatal(err)
	}
	for try := range udpTries {
		want := fmt.Appendf(nil, "stranger %d", try)
		if _, err := stranger.WriteTo(want, address); err != nil {
			t.Fatal(err)
		}
		source, _, err := await(a, want)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if source != stranger.LocalAddr().String() {
			t.Errorf("the stranger is %s, the client is told %s", stranger.LocalAddr(), source)
		}
		return
	}
	t.Errorf("no datagram of a stranger to %s reached the client", mapped)
}

func mappedAddress(t testing.TB, a *Association, target string) string {
	t.Helper()
	answer := exchange(t, a, target, tell)
	return strings.TrimSpace(strings.TrimPrefix(string(answer), string(tell)))
}
