package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"heki/panel/paneltest"
	"heki/test/harness"
)

// TestPanelKilled kills heki with signal 9 between the journal and the panel's answer. Its successor sends exactly
// what the journal has, or holds exactly that.
func TestPanelKilled(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"retry", "hold"} {
		harness.Cell(t, policy, func(t testing.TB) { testPanelKilled(t, policy) })
	}
}

func testPanelKilled(t testing.TB, policy string) {
	figures := harness.Address(harness.FreePort(t))
	s := newSite(t, harness.Road{Protocol: "vless"}, 2, func(config harness.JSON) {
		config["traffic"], config["admin"] = harness.JSON{"on_ambiguous": policy}, harness.JSON{"listen": figures}
		o := config["panels"].([]harness.JSON)[0]
		o["report_interval"], o["timeout"] = "1h", "1m" // so that the only report is the one at the end
	})
	state := s.config["state_dir"].(string)
	p := s.start(t)
	want := s.move(t, s.client(t, harness.SingBox))
	s.panel.Fail(paneltest.PushCall, paneltest.Hang(false), 1)
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the last report", func() bool { return s.panel.Requests(paneltest.PushCall) == 1 })
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Exited()
	only(t, "after the kill", "sent", backlog(t, state), want)

	s.panel.Heal()
	next := s.start(t)
	if policy == "hold" {
		eventually(t, "the admin server shows what is held", func() bool { return heldBytes(figures) == sum(want) })
	}
	if code, err := next.Stop(); code != 0 || err != nil { // SIGTERM brings the last report
		t.Errorf("exit code %d, %v", code, err)
	}
	if policy == "retry" {
		s.billed(t, "after the second run", want)
		only(t, "after the second run", "", backlog(t, state), nil)
		return
	}
	if got := s.panel.Total(); got != (paneltest.Traffic{}) {
		harness.Unforgivable(t)
		t.Errorf("billed %+v of what may have arrived", got)
	}
	only(t, "after the second run", "held", backlog(t, state), want)
}

// heldBytes is what heki's admin server says to be held; -1 without an answer.
func heldBytes(address string) int64 {
	resp, err := http.Get("http://" + address + "/status")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	var status struct {
		Nodes []struct {
			HeldBytes int64 `json:"held_bytes"`
		} `json:"nodes"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil || len(status.Nodes) != 1 {
		return -1
	}
	return status.Nodes[0].HeldBytes
}

func sum(users map[int]paneltest.Traffic) (all int64) {
	for _, moved := range users {
		all += moved.Up + moved.Down
	}
	return all
}

// backlog is what the journal of the site's node has on disk, by state and user; empty when there is none. The form is
// that of internal/meter/record.go.
func backlog(t testing.TB, state string) map[string]map[int]paneltest.Traffic {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(state, "traffic", "panel%2Fmain%2F1", "journal"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	all := make(map[string]map[int]paneltest.Traffic)
	var batch map[int]paneltest.Traffic
	for line := range strings.Lines(string(raw)) {
		var kind string
		var id int
		var moved paneltest.Traffic
		if _, err := fmt.Sscanf(line, "batch %s ", &kind); err == nil {
			if all[kind] != nil {
				t.Fatalf("two batches are %s:\n%s", kind, raw)
			}
			batch = make(map[int]paneltest.Traffic)
			all[kind] = batch
		} else if _, err := fmt.Sscanf(line, "%d %d %d ", &id, &moved.Up, &moved.Down); err == nil {
			batch[id] = moved
		}
	}
	return all
}

// only wants the journal to have one batch, in that state, of exactly that traffic; none with an empty state.
func only(t testing.TB, when, state string, have map[string]map[int]paneltest.Traffic, want map[int]paneltest.Traffic) {
	t.Helper()
	all := map[string]map[int]paneltest.Traffic{state: want}
	if state == "" {
		clear(all)
	}
	if !reflect.DeepEqual(have, all) {
		harness.Unforgivable(t)
		t.Errorf("%s: the journal has %v, want %v", when, have, all)
	}
}
