package webapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	jsoniter "github.com/json-iterator/go"

	"heki/panel/phpjson"
)

// maxRetryAfter bounds how long a panel may tell us to stay away.
const maxRetryAfter = time.Hour

// maxMessage bounds what of a panel's text is shown.
const maxMessage = 160

// explain turns a failure answer into the text for the operator, and what the panel said.
func (c *Caller) explain(resp *http.Response, body []byte) (said string, err error) {
	status := statusText(resp.StatusCode)
	if text := Message(body); text != "" && !(c.secret != "" && strings.Contains(text, c.secret)) {
		return text, fmt.Errorf("%s: %s", status, text)
	}
	return "", errors.New(status)
}

// Message is the "message", "error" or "msg" of a JSON answer, on one line, or "".
func Message(body []byte) string {
	var text string
	err := phpjson.Decode(body, func(it *jsoniter.Iterator) {
		phpjson.Object(it, func(name string) bool {
			if (name == "message" || name == "error" || name == "msg") && text == "" && it.WhatIsNext() == jsoniter.StringValue {
				text = it.ReadString()
			} else {
				it.Skip()
			}
			return true
		})
	})
	if err != nil {
		return ""
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.TrimSpace(text))
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}

// moved explains a redirect. None is followed: the token would go wherever it points, and a POST
// would become a GET.
func moved(resp *http.Response) error {
	status := statusText(resp.StatusCode)
	to, err := resp.Location()
	if err != nil {
		return errors.New(status)
	}
	target := url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}
	return fmt.Errorf("%s to %s: put the panel's final address into url", status, target.String())
}

func statusText(code int) string {
	if text := http.StatusText(code); text != "" {
		return strconv.Itoa(code) + " " + text
	}
	return strconv.Itoa(code)
}

// retryAfter reads seconds or a date.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	text := resp.Header.Get("Retry-After")
	if text == "" {
		return 0
	}
	var wait time.Duration
	if n, err := strconv.Atoi(text); err == nil {
		wait = time.Duration(min(n, int(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}
