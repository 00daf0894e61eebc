package sspanel

import (
	"errors"
	"reflect"
	"testing"

	"heki/panel"
	"heki/panel/paneltest"
)

func TestRules(t *testing.T) {
	w := newWorld(t, false)
	w.panel.SetNode(paneltest.Node{ID: 3, Protocol: "trojan", Port: 443})
	w.panel.SetRules([]paneltest.Rule{
		{ID: 1, Name: "BitTorrent", Regex: `(torrent|announce\.php\?passkey=)`, Type: 1}, {ID: 2, Name: "hex", Regex: "13426974546f7272656e74", Type: 2},
	})
	got, err := w.Rules(ctxOf(t))
	if err != nil || !reflect.DeepEqual(got, []panel.Rule{{ID: 1, Lines: []string{`regexp:(torrent|announce\.php\?passkey=)`}}}) || len(w.said) != 1 {
		t.Errorf("%+v, %v, said %q", got, err, w.said)
	}
	if _, err := w.Rules(ctxOf(t)); !errors.Is(err, panel.ErrNotModified) {
		t.Errorf("again: %v", err)
	}
	if err := w.ReportAudit(ctxOf(t), []panel.Hit{{User: 1, Rule: 1}, {User: 12, Rule: 1}}); err != nil {
		t.Fatal(err)
	}
	if got := w.panel.Hits(); !reflect.DeepEqual(got, []paneltest.Hit{{Node: 3, User: 1, Rule: 1}, {Node: 3, User: 12, Rule: 1}}) {
		t.Errorf("hits = %+v", got)
	}
}
