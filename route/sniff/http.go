package sniff

import (
	"bytes"
	"errors"
	"strings"

	"heki/constant"
)

// methods are the request methods of HTTP and WebDAV. A closed list: anything else in capitals is as
// likely another text protocol.
var methods = [...]string{
	"GET ", "POST ", "HEAD ", "PUT ", "DELETE ", "OPTIONS ", "CONNECT ", "PATCH ", "TRACE ",
	"PROPFIND ", "PROPPATCH ", "MKCOL ", "COPY ", "MOVE ", "LOCK ", "UNLOCK ", "REPORT ", "SEARCH ",
}

// preface starts HTTP/2 without TLS (RFC 9113 §3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// httpStream reads a request line and the headers up to Host. It answers as soon as it has the host,
// so that a long header block does not hide it.
func httpStream(b []byte) (Result, error) {
	switch err := prefix(b, preface); {
	case err == nil:
		return Result{Protocol: constant.ProtocolHTTP}, nil
	case errors.Is(err, ErrMore):
		return Result{}, ErrMore
	}
	method, err := httpMethod(b)
	if err != nil {
		return Result{}, err
	}
	line, rest, whole := bytes.Cut(b[len(method):], []byte{'\n'})
	target, version, _ := strings.Cut(strings.TrimSuffix(string(line), "\r"), " ")
	for i := range len(target) {
		if target[i] <= ' ' || target[i] == 0x7f {
			return Result{}, ErrUnknown
		}
	}
	err = prefix([]byte(version), "HTTP/1.")
	if err != nil && whole {
		return Result{}, ErrUnknown
	}
	if err != nil {
		return Result{}, err
	}
	if isTracker(method, target) {
		return Result{constant.ProtocolBitTorrent, targetHost(method, target)}, nil
	}
	if !whole {
		return Result{}, ErrMore
	}
	if host := targetHost(method, target); host != "" {
		return Result{constant.ProtocolHTTP, host}, nil
	}
	host, err := hostHeader(rest)
	return Result{constant.ProtocolHTTP, host}, err
}

// httpMethod returns the method b starts with, its space included.
func httpMethod(b []byte) (string, error) {
	result := ErrUnknown
	for _, method := range methods {
		err := prefix(b, method)
		if err == nil {
			return method, nil
		}
		if errors.Is(err, ErrMore) {
			result = ErrMore
		}
	}
	return "", result
}

// isTracker knows a BitTorrent client's announce or scrape (BEP 3, BEP 48).
func isTracker(method, target string) bool {
	path, query, _ := strings.Cut(target, "?")
	return method == "GET " && strings.Contains(query, "info_hash=") &&
		(strings.Contains(path, "announce") || strings.Contains(path, "scrape"))
}

// targetHost returns the host of a request target in absolute form or, for CONNECT, in authority form.
func targetHost(method, target string) string {
	if method == "CONNECT " {
		return hostname(withoutPort(target))
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return ""
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = rest[at+1:]
	}
	return hostname(withoutPort(rest))
}

// hostHeader finds Host; ErrMore while it may still come.
func hostHeader(b []byte) (string, error) {
	for {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		if !whole {
			return "", ErrMore
		}
		line = bytes.TrimSuffix(line, []byte{'\r'})
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok { // the end of the headers, or garbage
			return "", nil
		}
		if strings.EqualFold(string(name), "host") {
			return hostname(withoutPort(strings.Trim(string(value), " \t"))), nil
		}
		b = rest
	}
}

func withoutPort(s string) string {
	if strings.HasPrefix(s, "[") {
		return "" // an IPv6 address is no domain
	}
	host, _, _ := strings.Cut(s, ":")
	return host
}
