package ppanel

import (
	"errors"
	"fmt"
	"net/http"

	jsoniter "github.com/json-iterator/go"

	"heki/panel"
	"heki/panel/phpjson"
	"heki/panel/webapi"
)

// open reads {"code":200,"msg":"success","data":{…}} and hands what data holds to read, which is nil for
// answers without data. A failure comes with HTTP 200, too, and another code: the panel says so before it
// acts.
func open(call string, a *webapi.Answer, read func(it *jsoniter.Iterator)) error {
	var (
		code             int64
		hasCode, hasData bool
		wrong            error // in data
	)
	err := phpjson.Decode(a.Body, func(it *jsoniter.Iterator) {
		if it.WhatIsNext() != jsoniter.ObjectValue {
			phpjson.Fail(it, "is not an object")
			return
		}
		phpjson.Object(it, func(name string) bool {
			switch {
			case name == "code":
				hasCode, code = true, phpjson.Named(it, name, phpjson.Int)
			case name == "data" && read != nil:
				hasData = it.WhatIsNext() == jsoniter.ObjectValue
				if data := it.SkipAndReturnBytes(); hasData {
					wrong = phpjson.Decode(data, read)
				}
			default:
				it.Skip()
			}
			return true
		})
	})
	fail := &panel.Error{Call: call, Class: panel.Unclear, Status: a.Status}
	switch {
	case err != nil:
		fail.Err = fmt.Errorf("answer: %w", err)
	case !hasCode:
		fail.Err = errors.New("answer: code is missing")
	case code != http.StatusOK:
		fail.Class, fail.Said = panel.Refused, webapi.Message(a.Body)
		fail.Err = fmt.Errorf("code %d: %s", code, fail.Said)
		if fail.Said == "" {
			fail.Err = fmt.Errorf("code %d", code)
		}
	case read != nil && !hasData:
		fail.Err = errors.New("answer: data is missing")
	case wrong != nil:
		fail.Err = fmt.Errorf("answer: data: %w", wrong)
	default:
		return nil
	}
	return fail
}
