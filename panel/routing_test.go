package panel_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"heki/option"
	"heki/panel/paneltest"
)

// routed is a node with every kind of route that XBoard has; broken is what cannot be followed.
func routed(broken string) paneltest.Node {
	value := "x"
	return paneltest.Node{
		ID: 1, Protocol: "vless", Port: 10001,
		CustomOutbounds: []json.RawMessage{
			json.RawMessage(`{"tag":"x","protocol":"socks","settings":{"servers":[{"address":"192.0.2.1","port":1080}]}}`),
			json.RawMessage(`{"tag":"y","protocol":"` + broken + `"}`),
		},
		Routes: []paneltest.Route{
			{ID: 1, Match: []string{"domain:a.test"}, Action: "proxy", ActionValue: &value},
			{ID: 2, Match: []string{"domain:b.test"}, Action: "block"},
		},
		CustomRoutes: []json.RawMessage{json.RawMessage(`{"type":"field","domain":["c.test"],"port":443,"outboundTag":"y"}`)},
	}
}

// TestRoutingLives: routes are in force before the inbound, come from the snapshot while the panel is down, are
// told about once a change, and go with the node.
func TestRoutingLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.panel.SetNode(routed("pigeon"))
		b.start()
		want := b.host.routing[tag1]
		if len(want.Rules) != 3 || len(want.Outbounds) != 1 || want.Rules[2].Broken == "" || want.Rules[0].Outbound != "x" {
			t.Fatalf("the routing is %+v", want)
		}
		if !reflect.DeepEqual(b.host.inbounds[tag1].routing, want) {
			t.Error("the inbound began without its routing")
		}
		b.panel.SetUser(paneltest.User{ID: 2})
		b.pass(5 * time.Minute)
		if n := b.log.count("pigeon"); n != 1 {
			b.log.dump(t)
			t.Errorf("said %d times what cannot be followed", n)
		}
		b.stop()

		b.wire.SetDown(true)
		b.start()
		defer b.stop()
		b.pass(4 * time.Second)
		if i := b.host.inbounds[tag1]; i == nil || !reflect.DeepEqual(i.routing, want) {
			t.Errorf("from the snapshot: %+v", i)
		}
		b.wire.SetDown(false)
		b.panel.SetNode(routed("freedom"))
		b.pass(10 * time.Minute)
		if got := b.host.routing[tag1]; len(got.Outbounds) != 2 || got.Rules[2].Broken != "" || got.Rules[2].Outbound != "y" {
			t.Errorf("after the panel's change: %+v", got)
		}
		if replaced, _ := b.host.times(tag1); replaced != 1 {
			t.Errorf("routes replaced the inbound %d times", replaced-1)
		}
		if err := b.s.Reload(nil, option.Limits{}, option.Traffic{OnAmbiguous: "hold"}); err != nil {
			t.Fatal(err)
		}
		if b.host.inbounds[tag1] != nil {
			t.Error("the node is still there")
		}
	})
}
