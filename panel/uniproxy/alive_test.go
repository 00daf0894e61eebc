package uniproxy

import (
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"heki/option"
	"heki/panel"
)

// TestCountsInRows: xiaov2board from October 2023 to August 2024 counts a user's addresses in its row, and has
// no call for them.
func TestCountsInRows(t *testing.T) {
	asked := 0
	rows := `{"id":1,"uuid":"b831381d-6324-4d53-ad4f-8cda48b30811","device_limit":3,"alive_ip":2},
		{"id":2,"uuid":"5ad8bb1b-1d1c-4d3c-9a77-0f6a0c3d7f10","device_limit":1,"alive_ip":"0"},
		{"id":3,"uuid":"6ad8bb1b-1d1c-4d3c-9a77-0f6a0c3d7f10"}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/user") {
			io.WriteString(w, `{"users":[`+rows+`]}`)
			return
		}
		asked++
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer s.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	env := panel.Env{HTTP: &http.Client{Transport: transport}, Now: time.Now, Say: func(slog.Level, string, ...any) {}}
	c, err := New(env, &option.Panel{URL: s.URL, Key: "a token"}, &option.PanelNode{ID: 1})
	if err != nil {
		t.Fatal(err)
	}
	if users, err := c.Users(t.Context()); err != nil || len(users) != 3 {
		t.Fatal(users, err)
	}
	counts, err := c.Devices(t.Context())
	if want := (map[int64]int{1: 2, 2: 0}); err != nil || !maps.Equal(counts, want) || asked != 0 {
		t.Errorf("%v, %v after %d calls; want %v after none", counts, err, asked, want)
	}
	rows = `{"id":1,"uuid":"b831381d-6324-4d53-ad4f-8cda48b30811","device_limit":3}`
	if _, err := c.Users(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Devices(t.Context()); err == nil || asked != 1 {
		t.Errorf("%v after %d calls; rows count no more", err, asked)
	}
}
