package option

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
)

// DefaultStateDir is state_dir when the file does not say.
const DefaultStateDir = "/var/lib/heki"

// errServesNothing is dropped when another mistake is the likely reason for it.
var errServesNothing = errors.New("the file serves nothing: write at least one entry in inbounds or in panels")

// Validate fills all defaults and reports every mistake at once.
func (o *Options) Validate(at Path) error {
	var r report
	r.join(o.Log.Validate(at.Key("log")))
	r.join(o.DNS.Validate(at.Key("dns")))
	r.join(o.validateInbounds(at.Key("inbounds")))
	r.join(o.validateOutbounds(at.Key("outbounds")))
	r.join(o.Route.Validate(at.Key("route")))
	r.join(o.validateTargets(at.Key("route")))
	r.join(validatePanels(at.Key("panels"), o.Panels))
	r.join(o.Limits.Validate(at.Key("limits")))
	o.spreadInvalidAccess()
	r.join(o.Traffic.Validate(at.Key("traffic")))
	if o.Admin != nil {
		r.join(o.Admin.Validate(at.Key("admin")))
	}
	if o.StateDir == "" {
		o.StateDir = DefaultStateDir
	} else if !filepath.IsAbs(o.StateDir) {
		r.add(at.Key("state_dir"), "is %q, must be an absolute path such as %s", short(o.StateDir), DefaultStateDir)
	}
	if len(o.Inbounds) == 0 && len(o.Panels) == 0 {
		r.join(&Mistake{Path: at, Text: errServesNothing})
	}
	return r.err()
}

// nameTags gives each entry without a tag its type, made unique, and finds tags given twice.
func nameTags(at Path, n int, entry func(i int) (typ string, tag *string)) error {
	var r report
	first := make(map[string]int, n)
	for i := range n {
		_, tag := entry(i)
		if *tag == "" {
			continue
		}
		if j, taken := first[*tag]; taken {
			r.add(at.Index(i).Key("tag"), "%q is also the tag of %s; tags must be unique", short(*tag), at.Index(j))
			continue
		}
		first[*tag] = i
		r.join(printable(at.Index(i).Key("tag"), *tag))
	}
	for i := range n {
		typ, tag := entry(i)
		if *tag == "" && typ != "" {
			*tag = uniqueName(typ, func(name string) bool { _, taken := first[name]; return taken })
			first[*tag] = i
		}
	}
	return r.err()
}

// uniqueName is base, or base-2, base-3 and so on.
func uniqueName(base string, taken func(string) bool) string {
	name := base
	for n := 2; taken(name); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}

// Validate fills the default level, format and retention.
func (l *Log) Validate(at Path) error {
	var r report
	switch l.Level { // sing-box's other levels become the nearest of ours
	case "":
		l.Level = "info"
	case "trace":
		l.Level = "debug"
	case "warning":
		l.Level = "warn"
	case "fatal", "panic":
		l.Level = "error"
	}
	r.join(oneOf(at.Key("level"), l.Level, "debug", "info", "warn", "error"))
	if l.Format == "" {
		l.Format = "text"
	}
	r.join(oneOf(at.Key("format"), l.Format, "text", "json"))
	if l.RetentionDays == 0 {
		l.RetentionDays = 7
	}
	r.join(intIn(at.Key("retention_days"), l.RetentionDays, 1, 3650))
	if l.Dir != "" && l.Output != "" {
		r.add(at.Key("output"), "is set beside dir; keep dir for daily files or output for one file")
	}
	r.join(fileName(at.Key("dir"), l.Dir))
	r.join(fileName(at.Key("output"), l.Output))
	return r.err()
}

// Validate fills the default.
func (t *Traffic) Validate(at Path) error {
	if t.OnAmbiguous == "" {
		t.OnAmbiguous = "hold"
	}
	return oneOf(at.Key("on_ambiguous"), t.OnAmbiguous, "hold", "retry", "drop")
}

// oneOf says which values there are and, when one is close, which was meant.
func oneOf(at Path, value string, known ...string) error {
	if slices.Contains(known, value) {
		return nil
	}
	if near := nearest(value, known); near != "" {
		return at.Errorf("is %q, did you mean %q? known: %s", short(value), near, strings.Join(known, ", "))
	}
	return at.Errorf("is %q, must be one of %s", short(value), strings.Join(known, ", "))
}

func intIn(at Path, n, low, high int) error {
	if n < low || n > high {
		return at.Errorf("is %d, must be %d to %d", n, low, high)
	}
	return nil
}

// durationIn checks what was written; 0 is not written.
func durationIn(at Path, d Duration, low, high time.Duration) error {
	if d != 0 && (time.Duration(d) < low || time.Duration(d) > high) {
		return at.Errorf("is %s, must be %s to %s", d, Duration(low), Duration(high))
	}
	return nil
}

// fillDuration sets what was not written.
func fillDuration(d *Duration, to time.Duration) {
	if *d == 0 {
		*d = Duration(to)
	}
}

// printable refuses text that would garble a log line or a file name.
func printable(at Path, s string) error {
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return at.Errorf("holds the character U+%04X, must be printable text", c)
		}
	}
	return nil
}

func fileName(at Path, name string) error {
	if strings.ContainsRune(name, 0) {
		return at.Errorf("holds a zero byte, must be a file name")
	}
	return nil
}

// maxInterface is the longest name of a network interface: IFNAMSIZ of linux/if.h without its end.
const maxInterface = 15

func interfaceName(at Path, name string) error {
	if len(name) > maxInterface || strings.ContainsAny(name, "/ \t\r\n\x00") || name == "." || name == ".." {
		return at.Errorf("is %q, must be the name of a network interface such as eth0, at most %d characters", short(name), maxInterface)
	}
	return nil
}

// hostName checks a host or IP address without a port.
func hostName(at Path, host string) error {
	if _, err := netip.ParseAddr(host); err == nil || validHost(host) {
		return nil
	}
	return at.Errorf("is %q, must be a host name or an IP address, without a port", short(host))
}

// validHost accepts what DNS can carry (RFC 1035 §2.3.4), and "_", which names in use do hold.
func validHost(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !(c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z') {
				return false
			}
		}
	}
	// A name that ends in a number is a mistyped address: no top-level domain does (RFC 3696 §2).
	last := host[strings.LastIndexByte(host, '.')+1:]
	return strings.Trim(last, "0123456789") != ""
}

// Validate checks an address to connect to; both parts are required.
func (s *Server) Validate(at Path) error {
	var r report
	if s.Server == "" {
		r.add(at.Key("server"), "is required, a host name or an IP address")
	} else {
		r.join(hostName(at.Key("server"), s.Server))
	}
	if s.ServerPort == 0 {
		r.add(at.Key("server_port"), "is required, 1 to 65535")
	}
	return r.err()
}

// Validate fills the default timeout; bind stands alone.
func (d *Direct) Validate(at Path) error {
	var r report
	if d.Bind != "" {
		if _, err := netip.ParseAddr(d.Bind); err != nil && d.Bind != "inbound" && interfaceName(at, d.Bind) != nil {
			r.add(at.Key("bind"), `is %q, must be "inbound", an IP address or the name of a network interface`, short(d.Bind))
		}
		if d.BindInterface != "" || d.Inet4BindAddress != "" || d.Inet6BindAddress != "" {
			r.add(at.Key("bind"), "stands beside bind_interface, inet4_bind_address or inet6_bind_address; keep one way")
		}
	}
	r.join(checkStrategy(at.Key("domain_strategy"), &d.DomainStrategy))
	r.join(d.Dial.Validate(at))
	return r.err()
}

// Validate has nothing to check.
func (*Block) Validate(Path) error { return nil }
