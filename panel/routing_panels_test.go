package panel_test

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"heki/option"
	"heki/panel"
	"heki/panel/paneltest"
	"heki/panel/v2board"
)

// TestRoutingOfPanels: every action arrives whole from each panel that has it, by each version of its API.
func TestRoutingOfPanels(t *testing.T) {
	const socks = `{"tag":"x","protocol":"socks","settings":{"servers":[{"address":"192.0.2.1","port":1080}]}}`
	block := paneltest.Route{ID: 1, Match: []string{"domain:a.test", "regexp:.*ads.*"}, Action: "block"}
	dns := paneltest.Route{ID: 2, Match: []string{"domain:b.test"}, Action: "dns", ActionValue: text("192.0.2.53")}
	common := panel.Routing{
		Rules: []panel.Rule{{ID: 1, Lines: block.Match}},
		DNS:   []panel.DNSRule{{ID: 2, Lines: dns.Match, Servers: []string{"192.0.2.53"}}},
	}
	xiao := []paneltest.Route{
		block, dns,
		{ID: 3, Match: []string{"192.0.2.0/24", "geoip:private"}, Action: "block_ip"},
		{ID: 4, Match: []string{"25", "1000-2000"}, Action: "block_port"},
		{ID: 5, Match: []string{"bittorrent"}, Action: "protocol"},
		{ID: 6, Match: []string{"domain:c.test"}, Action: "route", ActionValue: text(socks)},
		{ID: 7, Match: []string{"198.51.100.0/24"}, Action: "route_ip", ActionValue: text(socks)},
		{ID: 8, Match: []string{}, Action: "default_out", ActionValue: text("hk")},
	}
	ofXiao := panel.Routing{
		Rules: append(common.Rules[:1:1],
			panel.Rule{ID: 3, Lines: []string{"ip:192.0.2.0/24", "geoip:private"}},
			panel.Rule{ID: 4, Lines: []string{"port:25", "port:1000-2000"}},
			panel.Rule{ID: 5, Lines: []string{"protocol:bittorrent"}},
			panel.Rule{ID: 6, Lines: []string{"domain:c.test"}, Outbound: "x"},
			panel.Rule{ID: 7, Lines: []string{"ip:198.51.100.0/24"}, Outbound: "x"},
		),
		Default: &panel.Rule{ID: 8, Outbound: "hk"}, DNS: common.DNS,
	}
	board := []paneltest.Route{
		block, dns,
		{ID: 3, Match: []string{"domain:c.test"}, Action: "direct"},
		{ID: 4, Match: []string{"domain:d.test"}, Action: "proxy", ActionValue: text("hk")},
	}
	ofBoard := panel.Routing{
		Rules: append(common.Rules[:1:1],
			panel.Rule{ID: 3, Lines: []string{"domain:c.test"}, Outbound: "direct"},
			panel.Rule{ID: 4, Lines: []string{"domain:d.test"}, Outbound: "hk"},
		),
		DNS: common.DNS,
	}
	for _, tt := range []struct {
		name, kind string
		version    int
		panel      func(token string) *paneltest.Panel
		routes     []paneltest.Route
		want       panel.Routing
		outbounds  int
	}{
		{"v2board", "v2board", 0, paneltest.NewV2board, []paneltest.Route{block, dns}, common, 0},
		{"xiaov2board 1", "xiaov2board", 1, paneltest.NewXiaoV2board, xiao, ofXiao, 1},
		{"xiaov2board 2", "xiaov2board", 2, paneltest.NewXiaoV2board, xiao, ofXiao, 1},
		{"xboard 1", "xboard", 1, paneltest.New, board, ofBoard, 0},
		{"xboard 2", "xboard", 2, paneltest.New, board, ofBoard, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 0)
				b.panel = tt.panel(token)
				b.wire.Panel = b.panel
				b.panel.SetUser(paneltest.User{ID: 1})
				b.panel.SetNode(paneltest.Node{ID: 1, Protocol: "vmess", Port: 10001, Routes: tt.routes})
				b.cfg.Kinds["v2board"], b.cfg.Kinds["xiaov2board"] = v2board.Kind(), v2board.XiaoKind()
				o := &b.cfg.Options[0]
				o.Type, o.APIVersion, o.Nodes = tt.kind, tt.version, []option.PanelNode{{ID: 1}}
				b.start()
				defer b.stop()
				b.pass(time.Minute)
				got := b.host.routing[tag1]
				if len(got.Outbounds) != tt.outbounds {
					t.Errorf("%d outbounds, want %d", len(got.Outbounds), tt.outbounds)
				}
				got.Outbounds = nil
				if !reflect.DeepEqual(got, tt.want) {
					b.log.dump(t)
					t.Errorf("the routing is\n%+v, want\n%+v", got, tt.want)
				}
			})
		})
	}
}

func text(s string) *string { return &s }
