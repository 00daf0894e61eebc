package admin

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"heki/internal/meter"
	"heki/option"
	"heki/panel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, o option.Admin, st State) (get func(path, token string) (int, string)) {
	t.Helper()
	o.Listen = "127.0.0.1:0"
	s, err := Start(&o, func() State { return st }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(path, token string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, "http://"+s.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
}

// sample is two nodes, one of which does not serve, and an inbound of the file.
func sample() State {
	return State{
		Started: time.Unix(1_700_000_000, 0), Offset: 1500 * time.Millisecond,
		Nodes: []panel.Status{
			{
				Tag: "main/1", Panel: "main", ID: 1, Serving: true, Protocol: "vless", Port: 443, Synced: time.UnixMilli(1_700_000_060_500),
				Stats:   meter.Stats{Users: 3, Online: 2, Conns: 5, Opened: 9, Up: 10, Down: 20},
				Reports: 4, ReportedUp: 6, ReportedDown: 7, BacklogUsers: 1, BacklogBytes: 17, HeldBatches: 2, HeldBytes: 30,
			},
			{Tag: `odd "one"`, Panel: "main", ID: 2, Err: "server_port is missing"},
		},
		Inbounds: []Inbound{{"in", meter.Stats{Users: 1, Up: 1 << 40}}},
	}
}

func TestToken(t *testing.T) {
	const token = "a token of 16 bytes"
	get := start(t, option.Admin{Token: token}, sample())
	for path, want := range map[string]int{"/status": 200, "/metrics": 200, "/readyz": 503} {
		for _, wrong := range []string{"", "x", token + "x", token[1:]} {
			if code, body := get(path, wrong); code != http.StatusUnauthorized || strings.Contains(body, "main") {
				t.Errorf("%s with %q: %d %q", path, wrong, code, body)
			}
		}
		if code, _ := get(path, token); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if code, body := get("/healthz", ""); code != 200 || body != "ok\n" {
		t.Errorf("healthz: %d %q", code, body)
	}
	if code, _ := get("/", token); code != 404 {
		t.Errorf("/: %d", code)
	}
}

func TestReady(t *testing.T) {
	st := sample()
	if code, body := start(t, option.Admin{}, st)("/readyz", ""); code != 503 || body != "odd \"one\": not served: server_port is missing\n" {
		t.Errorf("%d %q", code, body)
	}
	st.Nodes = st.Nodes[:1]
	if code, body := start(t, option.Admin{}, st)("/readyz", ""); code != 200 || body != "ok\n" {
		t.Errorf("%d %q", code, body)
	}
}

func TestStatus(t *testing.T) {
	_, body := start(t, option.Admin{}, sample())("/status", "")
	var got struct {
		ClockOffset float64          `json:"clock_offset_seconds"`
		Nodes       []map[string]any `json:"nodes"`
		Inbounds    []map[string]any `json:"inbounds"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got.ClockOffset != 1.5 || len(got.Nodes) != 2 || len(got.Inbounds) != 1 {
		t.Fatalf("%s", body)
	}
	for key, want := range map[string]any{
		"tag": "main/1", "serving": true, "users": 3.0, "online_users": 2.0, "connections": 5.0, "up_bytes": 10.0, "down_bytes": 20.0,
		"backlog_bytes": 17.0, "held_batches": 2.0, "held_bytes": 30.0, "reported_up_bytes": 6.0, "synced": "2023-11-14T22:14:20.5Z",
	} {
		if v := got.Nodes[0][key]; v != want && key != "synced" {
			t.Errorf("%s = %v, want %v", key, v, want)
		}
	}
	if got.Nodes[1]["error"] != "server_port is missing" || got.Nodes[1]["synced"] != nil || got.Inbounds[0]["up_bytes"] != float64(1<<40) {
		t.Errorf("%s", body)
	}
}

// TestMetrics reads the text as Prometheus does: each family has its head, each line a value.
func TestMetrics(t *testing.T) {
	_, body := start(t, option.Admin{}, sample())("/metrics", "")
	line := regexp.MustCompile(`^([a-z_]+)(\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? (-?[0-9.]+)$`)
	known, values := make(map[string]bool), make(map[string]string)
	in := bufio.NewScanner(strings.NewReader(body))
	for in.Scan() {
		text := in.Text()
		if head, ok := strings.CutPrefix(text, "# TYPE "); ok {
			known[strings.Fields(head)[0]] = true
			continue
		}
		if strings.HasPrefix(text, "# HELP ") {
			continue
		}
		m := line.FindStringSubmatch(text)
		if m == nil || !known[m[1]] {
			t.Errorf("line %q", text)
			continue
		}
		values[m[1]+m[2]] = m[3]
	}
	const node = `{node="main/1",panel="main",protocol="vless"}`
	for name, want := range map[string]string{
		"heki_node_up" + node: "1", "heki_node_held_batches" + node: "2", "heki_node_held_bytes" + node: "30", "heki_node_backlog_bytes" + node: "17",
		"heki_node_reported_bytes_total" + node: "13", "heki_node_synced_timestamp_seconds" + node: "1700000060.5", "heki_clock_offset_seconds": "1.5",
		`heki_node_up{node="odd \"one\"",panel="main",protocol=""}`: "0",
		`heki_node_up_bytes_total{node="in",panel="",protocol=""}`:  "1099511627776",
	} {
		if values[name] != want {
			t.Errorf("%s = %q, want %q", name, values[name], want)
		}
	}
	if values["heki_goroutines"] == "" || values["heki_memory_bytes"] == "0" {
		t.Errorf("figures of the process: %q, %q", values["heki_goroutines"], values["heki_memory_bytes"])
	}
}

func TestTakenAddress(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	s, err := Start(&option.Admin{Listen: "127.0.0.1:0"}, sample, log)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := Start(&option.Admin{Listen: s.Addr().String()}, sample, log); err == nil || !strings.HasPrefix(err.Error(), "admin.listen: ") {
		t.Errorf("err = %v", err)
	}
}
