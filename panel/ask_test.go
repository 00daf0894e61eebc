package panel_test

import (
	"strings"
	"testing"
	"time"

	"heki/option"
	"heki/panel"
	"heki/panel/paneltest"
)

// TestAskMachine: check --online says what the panel says, and which settings are for nobody.
func TestAskMachine(t *testing.T) {
	b := newMachineBench(t, 2)
	server, err := paneltest.Start(b.panel)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, tt := range []struct {
		name string
		edit func(o *option.Panel)
		want string // "" is nothing
	}{
		{"right", func(*option.Panel) {}, ""},
		{"settings for nobody", func(o *option.Panel) { o.Nodes = []option.PanelNode{{ID: 1}, {ID: 99}} }, "node 99 is not among those of machine 4"},
		{"key", func(o *option.Panel) { o.Key = token }, "Machine not found or disabled"},
		{"machine", func(o *option.Panel) { o.MachineID = 5 }, "machine 5 has no nodes"},
		{"type", func(o *option.Panel) { o.Type = "local" }, `type "local" has no machines`},
		{"url", func(o *option.Panel) { o.URL += "/sub" }, "since April 2026"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.panel.SetMachine(paneltest.Machine{ID: 5, Token: machineKey})
			o := b.cfg.Options[0]
			o.URL, o.Timeout = server.URL, option.Duration(time.Minute)
			tt.edit(&o)
			doubts := panel.AskMachine(t.Context(), b.cfg.Kinds, &o)
			if tt.want == "" && len(doubts) != 0 || tt.want != "" && (len(doubts) != 1 || !strings.Contains(doubts[0].Error(), tt.want)) {
				t.Errorf("%v, want %q", doubts, tt.want)
			}
		})
	}
}
