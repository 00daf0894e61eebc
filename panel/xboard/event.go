package xboard

import (
	"fmt"

	jsoniter "github.com/json-iterator/go"

	"heki/panel"
	"heki/panel/phpjson"
)

// Events that are more than a hint to ask again.
const (
	eventDelta = "sync.user.delta" // single users
	eventNodes = "sync.nodes"      // the nodes of a machine
)

// event is one frame of the WebSocket.
type event struct {
	name   string
	node   int64  // that it is about; 0: this one, or the machine
	action string // of a delta: add, remove
	users  []byte // of a delta, as the panel writes them; nil: none
}

// parseEvent reads {"event":E,"data":D}. It keeps no reference to frame.
func parseEvent(frame []byte) (*event, error) {
	var e event
	err := phpjson.Decode(frame, func(it *jsoniter.Iterator) {
		phpjson.Object(it, func(name string) bool {
			switch name {
			case "event":
				e.name = phpjson.Text(it)
			case "data":
				e.read(it)
			default:
				it.Skip()
			}
			return true
		})
	})
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	if e.name != eventDelta {
		e.users = nil
	}
	return &e, nil
}

// read takes what is of interest from data, which may be anything.
func (e *event) read(it *jsoniter.Iterator) {
	if it.WhatIsNext() != jsoniter.ObjectValue {
		it.Skip()
		return
	}
	phpjson.Object(it, func(name string) bool {
		switch {
		case name == "node_id" && it.WhatIsNext() != jsoniter.NilValue:
			e.node = phpjson.Int(it)
		case name == "action" && it.WhatIsNext() == jsoniter.StringValue:
			e.action = it.ReadString()
		case name == "users" && (e.name == "" || e.name == eventDelta): // of others it is the whole table
			e.users = it.SkipAndReturnBytes()
		default:
			it.Skip()
		}
		return true
	})
}

// delta is what the event changes, or nil when the panel must be asked.
func (e *event) delta() *panel.Delta {
	if e.name != eventDelta || len(e.users) == 0 {
		return nil
	}
	switch e.action {
	case "add":
		return &panel.Delta{Changed: append(append([]byte(`{"users":`), e.users...), '}')}
	case "remove":
		if ids, ok := idsIn(e.users); ok {
			return &panel.Delta{Removed: ids}
		}
	}
	return nil
}

// idsIn are the ids of a list of users; false when one has none.
func idsIn(users []byte) (ids []int64, ok bool) {
	err := phpjson.Decode(users, func(it *jsoniter.Iterator) {
		phpjson.List(it, func() {
			var id int64
			phpjson.Object(it, func(name string) bool {
				if name == "id" {
					id = phpjson.Int(it)
				} else {
					it.Skip()
				}
				return true
			})
			if id <= 0 {
				phpjson.Fail(it, "a user has no id")
			}
			ids = append(ids, id)
		})
	})
	return ids, err == nil && len(ids) > 0
}
