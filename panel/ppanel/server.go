package ppanel

import (
	"fmt"
	"slices"
	"strings"

	jsoniter "github.com/json-iterator/go"

	"heki/panel"
	"heki/panel/phpjson"
	"heki/panel/uniproxy"
)

// server is the data of an answer about a server: its protocols, and what they share.
type server struct {
	threshold  int64 // bytes; the panel drops rows of traffic that have no more
	push, pull float64
	dns        []nameServer
	block      []string
	outbounds  []outbound
	protocols  []entry
}

// entry is one of protocols, of which only the one in use is looked at in full.
type entry struct {
	word, kind string // the panel's, ours
	raw        []byte
}

// read reads data.
func (s *server) read(it *jsoniter.Iterator) {
	phpjson.Object(it, func(name string) bool {
		switch name {
		case "traffic_report_threshold":
			s.threshold = phpjson.Named(it, name, phpjson.Int)
		case "push_interval":
			s.push = phpjson.Named(it, name, phpjson.Float)
		case "pull_interval":
			s.pull = phpjson.Named(it, name, phpjson.Float)
		case "dns":
			phpjson.List(it, func() { s.dns = append(s.dns, readDNS(it)) })
		case "block":
			s.block = phpjson.Lines(it)
		case "outbound":
			phpjson.List(it, func() { s.outbounds = append(s.outbounds, readOutbound(it)) })
		case "protocols":
			phpjson.List(it, func() { s.protocol(it) })
		default:
			it.Skip()
		}
		return true
	})
}

// protocol notes one of protocols that is on. The panel leaves out what is false.
func (s *server) protocol(it *jsoniter.Iterator) {
	if it.WhatIsNext() != jsoniter.ObjectValue {
		phpjson.Fail(it, "protocols[%d] is not an object", len(s.protocols))
		return
	}
	e := entry{raw: it.SkipAndReturnBytes()}
	on := false
	err := phpjson.Decode(e.raw, func(it *jsoniter.Iterator) {
		phpjson.Object(it, func(name string) bool {
			switch name {
			case "type":
				e.word = phpjson.Text(it)
			case "enable":
				on = phpjson.Bool(it)
			default:
				it.Skip()
			}
			return true
		})
	})
	if err != nil {
		phpjson.Fail(it, "protocols: %v", err)
		return
	}
	if e.kind = kindOf(e.word); on && e.kind != "" {
		s.protocols = append(s.protocols, e)
	}
}

// pick returns the protocol of that type of ours; without a type, the only one there is.
func (s *server) pick(id int64, kind string) (*protocol, error) {
	var names []string
	found := make([]entry, 0, len(s.protocols))
	for _, e := range s.protocols {
		names = append(names, e.kind)
		if kind == "" || e.kind == kind {
			found = append(found, e)
		}
	}
	all := strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), ", ")
	switch {
	case len(names) == 0:
		return nil, fmt.Errorf("server %d has no enabled protocol", id)
	case len(found) == 0:
		return nil, fmt.Errorf("server %d has no enabled protocol %s; it has %s", id, kind, all)
	case len(found) > 1 && kind != "":
		return nil, fmt.Errorf("server %d has %s twice, and the panel does not tell their users and traffic apart; disable one", id, kind)
	case len(found) > 1:
		return nil, fmt.Errorf(`server %d has several protocols: write "type" into its entry, one of %s; each further one needs a panel entry of its own`, id, all)
	}
	p := &protocol{word: found[0].word, kind: found[0].kind}
	if _, known := wordOf(p.kind); !known {
		return p, nil // panel.Node.Check names it; its members are not ours to judge
	}
	if err := phpjson.Decode(found[0].raw, p.read); err != nil {
		return nil, fmt.Errorf("server %d: %s: %w", id, p.kind, err)
	}
	return p, nil
}

// apply adds to n what all protocols of the server share.
func (s *server) apply(n *panel.Node) {
	n.Push, n.Pull = uniproxy.Seconds(s.push), uniproxy.Seconds(s.pull)
	if s.threshold > 0 {
		n.Floor = min(s.threshold, 1<<50) + 1 // at the threshold itself it is dropped
	}
	s.route(n)
}
