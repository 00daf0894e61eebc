package option

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"heki/constant"
)

// transportFields says which fields each type has, beside type.
var transportFields = map[string][]string{
	constant.TransportWS:            {"path", "host", "headers", "max_early_data", "early_data_header_name"},
	constant.TransportHTTP:          {"path", "host", "method", "headers", "idle_timeout", "ping_timeout"},
	constant.TransportGRPC:          {"service_name", "idle_timeout", "ping_timeout", "permit_without_stream"},
	constant.TransportHTTPUpgrade:   {"path", "host", "headers"},
	constant.TransportTCPHTTPHeader: {"path", "paths", "host", "method", "headers"},
}

// Bounds of the timeouts of a transport.
const (
	minTransportTimeout = time.Second
	maxTransportTimeout = 24 * time.Hour
)

// DefaultServiceName is gRPC's when none is written. Source: V2Ray.
const DefaultServiceName = "GunService"

// Validate normalises paths and fills the default ones.
func (t *Transport) Validate(at Path) error {
	var r report
	if t.Type == constant.TransportTCP {
		if len(t.set()) > 0 {
			r.add(at.Key("type"), "is required; served: %s%s", strings.Join(transportKind.served, ", "), transportKind.hint)
		}
		return r.err()
	}
	if err := transportKind.check(t.Type); err != nil {
		return at.Key("type").Errorf("%w", err)
	}
	for _, name := range t.set() {
		if !slices.Contains(transportFields[t.Type], name) {
			r.add(at.Key(name), "is not an option of %s, whose are %s", t.Type, strings.Join(transportFields[t.Type], ", "))
		}
	}
	r.join(t.validatePaths(at))
	if t.Host = slices.DeleteFunc(t.Host, func(h string) bool { return h == "" }); len(t.Host) == 0 {
		t.Host = nil
	}
	for i, host := range t.Host {
		if !validHost(host) && hostName(at, strings.Trim(host, "[]")) != nil {
			r.add(at.Key("host").item(i, len(t.Host)), "is %q, must be a host name, without a port", short(host))
		}
	}
	if t.Method != "" && (!isToken(t.Method) || strings.ToUpper(t.Method) != t.Method) {
		r.add(at.Key("method"), "is %q, must be an HTTP method such as PUT", short(t.Method))
	}
	if t.EarlyDataHeaderName != "" && !isToken(t.EarlyDataHeaderName) {
		r.add(at.Key("early_data_header_name"), "is %q, must be the name of an HTTP header such as %s", short(t.EarlyDataHeaderName), earlyDataHeader)
	}
	r.join(checkHeaders(at.Key("headers"), t.Headers))
	r.join(durationIn(at.Key("idle_timeout"), t.IdleTimeout, minTransportTimeout, maxTransportTimeout))
	r.join(durationIn(at.Key("ping_timeout"), t.PingTimeout, minTransportTimeout, maxTransportTimeout))
	return r.err()
}

// set returns the JSON names of the fields with a value, type aside.
func (t *Transport) set() []string {
	var names []string
	v := reflect.ValueOf(t).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if f := v.Field(i); name != "type" && !f.IsZero() && (f.Kind() != reflect.Map && f.Kind() != reflect.Slice || f.Len() > 0) {
			names = append(names, name)
		}
	}
	return names
}

func checkHeaders(at Path, headers map[string]Listable[string]) error {
	var r report
	for _, name := range sortedKeys(headers) {
		in := at.Key(name)
		if !isToken(name) {
			r.add(in, "must have the name of an HTTP header: letters, digits and -")
		}
		for i, value := range headers[name] {
			if strings.ContainsAny(value, "\r\n\x00") {
				r.add(in.item(i, len(headers[name])), "holds a line break or a zero byte, must be one line")
			}
		}
	}
	return r.err()
}

// validatePaths gives paths their leading slash and a service its name.
func (t *Transport) validatePaths(at Path) error {
	var r report
	if t.Type == constant.TransportGRPC {
		if t.ServiceName == "" {
			t.ServiceName = DefaultServiceName
		}
		if err := checkServiceName(t.ServiceName); err != nil {
			r.add(at.Key("service_name"), "%w", err)
		}
		return r.err()
	}
	if err := t.normalisePath(); err != nil {
		r.add(at.Key("path"), "%w", err)
	}
	for i, path := range t.Paths {
		path, err := urlPath(path)
		if err != nil {
			r.add(at.Key("paths").item(i, len(t.Paths)), "%w", err)
			continue
		}
		t.Paths[i] = path
	}
	return r.err()
}

// checkServiceName refuses what no client can ask for.
func checkServiceName(name string) error {
	for _, c := range []byte(name) {
		if c < ' ' || c == 0x7f {
			return fmt.Errorf("is %q, must not have control characters", short(name))
		}
	}
	if rest, ok := strings.CutPrefix(name, "/"); ok && strings.HasSuffix(rest, "/") || name == "/" {
		return fmt.Errorf(`is %q, must end with a stream name: "/service/Tun" or "/service/Tun|TunMulti"`, short(name))
	}
	return nil
}

// earlyDataHeader is where Xray's clients put the first bytes when the path says ?ed=N.
const earlyDataHeader = "Sec-WebSocket-Protocol"

// normalisePath gives the path its leading slash and turns ?ed=N into max_early_data, with Xray's
// header when none is named. Without ?ed the fields mean what they mean in sing-box: no header
// name is early data at the end of the path. For httpupgrade ?ed only tells clients not to wait.
func (t *Transport) normalisePath() error {
	text, query, hasQuery := strings.Cut(t.Path, "?")
	path, err := urlPath(text)
	if err != nil {
		return fmt.Errorf("is %q, must be a URL path without spaces, control characters and #", short(t.Path))
	}
	if !hasQuery {
		t.Path = path
		return nil
	}
	text, ok := strings.CutPrefix(query, "ed=")
	n, err := strconv.ParseUint(text, 10, 32)
	size := uint32(n)
	if early := t.Type == constant.TransportWS || t.Type == constant.TransportHTTPUpgrade; !early {
		return fmt.Errorf("is %q, must have no query", short(t.Path))
	}
	if !ok || err != nil {
		return fmt.Errorf("is %q, must have no query but ?ed=N, N the bytes of early data", short(t.Path))
	}
	if t.MaxEarlyData != 0 && t.MaxEarlyData != size {
		return fmt.Errorf("says ?ed=%d, but max_early_data is %d; keep one", size, t.MaxEarlyData)
	}
	t.Path = path
	if t.Type == constant.TransportHTTPUpgrade {
		return nil
	}
	t.MaxEarlyData = size
	if size > 0 && t.EarlyDataHeaderName == "" {
		t.EarlyDataHeaderName = earlyDataHeader
	}
	return nil
}

// urlPath gives a path its leading slash.
func urlPath(path string) (string, error) {
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	for _, c := range path {
		if c <= ' ' || c == 0x7f || c == '#' || c == '?' {
			return "", fmt.Errorf("is %q, must be a URL path without spaces, control characters, ? and #", short(path))
		}
	}
	return path, nil
}

// isToken is RFC 9110 §5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
