package option

import (
	"fmt"
	"net/url"
)

// Hysteria2 configures a Hysteria 2 inbound. Of Stream it has what listening, TLS and limits are.
type Hysteria2 struct {
	Stream
	Hysteria2Local
	Users                 []PasswordUser `json:"users,omitempty"`                   // empty when a panel feeds the inbound
	UpMbps                float64        `json:"up_mbps,omitempty"`                 // to a client; 0 is unlimited
	DownMbps              float64        `json:"down_mbps,omitempty"`               // from a client; 0 is unlimited
	IgnoreClientBandwidth bool           `json:"ignore_client_bandwidth,omitempty"` // BBR whatever clients announce
	Obfs                  *Hysteria2Obfs `json:"obfs,omitempty"`
}

// Hysteria2Obfs hides that datagrams are QUIC.
type Hysteria2Obfs struct {
	Type     string `json:"type"` // salamander
	Password string `json:"password"`
}

// ObfsSalamander is the one obfs type.
const ObfsSalamander = "salamander"

// Bounds of the password of obfs in bytes. Official servers take no shorter one.
const (
	minObfsPassword = 4
	maxObfsPassword = 512
)

// Masquerade is the site of those who are not users: an object, or a text that is the URL of a directory
// (file:///srv/www) or of a site (https://www.example.org).
type Masquerade struct {
	Type        string                      `json:"type"` // file, proxy, string
	Directory   string                      `json:"directory,omitempty"`
	URL         string                      `json:"url,omitempty"`
	RewriteHost bool                        `json:"rewrite_host,omitempty"` // the site is asked by its own name
	StatusCode  int                         `json:"status_code,omitempty"`  // default 200
	Headers     map[string]Listable[string] `json:"headers,omitempty"`
	Content     string                      `json:"content,omitempty"`
}

// Values of masquerade.type.
const (
	MasqueradeFile   = "file"
	MasqueradeProxy  = "proxy"
	MasqueradeString = "string"
)

var refusedHysteria2 = map[string]refusal{
	"brutal_debug":               later(""),
	"connection_receive_window":  later("; it is 20 MiB"),
	"disable_path_mtu_discovery": later(""),
	"idle_timeout":               later("; it is 30s"),
	"initial_packet_size":        later(""),
	"keep_alive_period":          later("; clients keep their connections alive"),
	"max_concurrent_streams":     later("; it is 4096"),
	"realm":                      never("the server has an address of its own"),
	"stream_receive_window":      later("; it is 8 MiB"),
}

// HasTCP reports whether the inbound listens on TCP of the same port.
func (h *Hysteria2) HasTCP() bool { return h.MasqueradePort != 0 && h.MasqueradePort == h.ListenPort }

// HasUDP reports whether the inbound listens on UDP.
func (*Hysteria2) HasUDP() bool { return true }

// Validate fills defaults and reports every mistake at once.
func (h *Hysteria2) Validate(at Path) error {
	var r report
	r.join(h.Stream.Validate(at))
	r.join(h.noDatagrams(at))
	r.join(h.foreign(at))
	r.join(mbpsIn(at.Key("up_mbps"), h.UpMbps))
	r.join(mbpsIn(at.Key("down_mbps"), h.DownMbps))
	if h.Obfs != nil {
		r.join(h.Obfs.Validate(at.Key("obfs")))
	}
	r.join(h.Hysteria2Local.Validate(at))
	r.join(passwordUsers(at.Key("users"), h.Users))
	return r.err()
}

// foreign reports what inbounds over TCP have and this one has not.
func (h *Hysteria2) foreign(at Path) error {
	var r report
	if h.TLS == nil || !h.TLS.Enabled {
		r.add(at.Key("tls"), "is required with enabled: true; Hysteria 2 is QUIC")
	} else if h.TLS.Reality != nil && h.TLS.Reality.Enabled {
		r.add(at.Key("tls").Key("reality"), "is not served with Hysteria 2, which is QUIC")
	}
	if h.Transport != nil {
		r.add(at.Key("transport"), "is not served with Hysteria 2, which is QUIC")
	}
	if h.Multiplex != nil && h.Multiplex.Enabled {
		r.add(at.Key("multiplex"), "is not served with Hysteria 2, which shares connections by itself")
	}
	if h.Fallback != nil || len(h.FallbackForALPN) > 0 {
		r.add(at.Key("fallback"), "is not served with Hysteria 2; write masquerade")
	}
	if h.ProxyProtocol != "" && h.ProxyProtocol != ProxyOff {
		r.add(at.Key("proxy_protocol"), "is %q, but there is none for QUIC", h.ProxyProtocol)
	}
	return r.err()
}

// Validate reports every mistake at once. It never shows the password.
func (o *Hysteria2Obfs) Validate(at Path) error {
	var r report
	if o.Type != ObfsSalamander {
		r.add(at.Key("type"), "is %q, must be %s", short(o.Type), ObfsSalamander)
	}
	if n := len(o.Password); n < minObfsPassword || n > maxObfsPassword {
		r.add(at.Key("password"), "has %d bytes, must have %d to %d", n, minObfsPassword, maxObfsPassword)
	}
	return r.err()
}

// fromText reads the short form.
func (m *Masquerade) fromText(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("is no URL: %w", err)
	}
	switch u.Scheme {
	case "file":
		*m = Masquerade{Type: MasqueradeFile, Directory: u.Path}
	case "http", "https":
		*m = Masquerade{Type: MasqueradeProxy, URL: text}
	default:
		return fmt.Errorf("is %q, must be a URL such as https://www.example.org or file:///srv/www", short(text))
	}
	return nil
}

// Validate reports every mistake at once.
func (m *Masquerade) Validate(at Path) error {
	var r report
	r.join(printable(at.Key("directory"), m.Directory))
	switch m.Type {
	case MasqueradeFile:
		if m.Directory == "" {
			r.add(at.Key("directory"), "is required with type file")
		}
	case MasqueradeProxy:
		if u, err := url.Parse(m.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			r.add(at.Key("url"), "is %q, must be the URL of a site, such as https://www.example.org", short(m.URL))
		}
	case MasqueradeString:
		if m.StatusCode != 0 {
			r.join(intIn(at.Key("status_code"), m.StatusCode, 200, 599))
		}
	default:
		r.add(at.Key("type"), "is %q, must be file, proxy or string", short(m.Type))
	}
	return r.err()
}
