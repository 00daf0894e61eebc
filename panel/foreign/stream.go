package foreign

import (
	"strings"
	"time"

	"heki/constant"
	"heki/option"
)

// carry reads streamSettings into t: TLS and what carries the protocol inside it.
func (t *target) carry(stream *object) {
	network := networkName(stream.text("network"))
	settings := t.settings(stream, network)
	if c := transport(settings, network); c != nil && t.transport == nil {
		stream.fail("network", "is %.16q, must be tcp with this protocol", network)
	} else if c != nil {
		*t.transport = c
	}
	security := strings.ToLower(stream.text("security"))
	switch {
	case security == "" || security == "none":
		stream.ignore("tlsSettings")
	case security == "tls" && t.tls != nil:
		*t.tls = clientTLS(stream.object("tlsSettings"))
	case security == "tls":
		stream.fail("security", "must be none with this protocol")
	default:
		stream.drop()
		stream.fail("security", "is %.16q, must be none or tls", security)
	}
	stream.ignore("realitySettings", "xtlsSettings") // a template's, beside another security
}

// networkName is the name of a network here; one that is unknown stays as it is.
func networkName(name string) string {
	switch lower := strings.ToLower(name); lower {
	case "", "tcp", "raw":
		return constant.TransportTCP
	case "ws", "websocket":
		return constant.TransportWS
	case "h2", "http":
		return constant.TransportHTTP
	case "grpc", "gun":
		return constant.TransportGRPC
	default:
		return lower
	}
}

// settings returns those of the network in use. Those of others stand about in templates.
func (t *target) settings(stream *object, network string) *object {
	names := map[string][]string{
		constant.TransportTCP:         {"tcpSettings", "rawSettings"},
		constant.TransportWS:          {"wsSettings"},
		constant.TransportHTTP:        {"httpSettings", "h2Settings"},
		constant.TransportGRPC:        {"grpcSettings", "gunSettings"},
		constant.TransportHTTPUpgrade: {"httpupgradeSettings"},
	}
	if names[network] == nil {
		stream.fail("network", "is %.16q, must be tcp, ws, grpc, h2 or httpupgrade", network)
	}
	var found *object
	for _, name := range names[network] {
		if found == nil && stream.has(name) {
			found = stream.object(name)
		}
	}
	for _, other := range names {
		stream.ignore(other...)
	}
	stream.ignore("kcpSettings", "quicSettings", "dsSettings", "xhttpSettings", "splithttpSettings", "hysteriaSettings")
	if found == nil {
		found = stream.object(names[constant.TransportTCP][0])
	}
	return found
}

// transport reads the settings of a network; nil is plain TCP.
func transport(s *object, network string) *option.Transport {
	s.ignore("acceptProxyProtocol") // a server's
	t := &option.Transport{Type: network}
	switch network {
	case constant.TransportTCP:
		return httpHeader(s.object("header"))
	case constant.TransportWS:
		t.Path = s.text("path")
		t.MaxEarlyData = uint32(s.number("maxEarlyData", 1<<20))
		t.EarlyDataHeaderName = s.text("earlyDataHeaderName")
		s.ignore("heartbeatPeriod")
	case constant.TransportHTTPUpgrade:
		t.Path = s.text("path")
	case constant.TransportHTTP:
		t.Path, t.Method = s.text("path"), s.text("method")
		t.IdleTimeout, t.PingTimeout = seconds(s, "read_idle_timeout"), seconds(s, "health_check_timeout")
	case constant.TransportGRPC:
		// Servers answer both modes, and windows are a matter of speed.
		s.ignore("multiMode", "initial_windows_size", "user_agent")
		t.ServiceName = s.text("serviceName")
		t.IdleTimeout, t.PingTimeout = seconds(s, "idle_timeout"), seconds(s, "health_check_timeout")
		t.PermitWithoutStream = s.is("permit_without_stream")
		return t
	default:
		return nil
	}
	var host []string
	t.Headers, host = headers(s)
	t.Host = append(s.texts("host"), host...)
	if len(t.Host) > 1 && network != constant.TransportHTTP {
		t.Host = t.Host[:1]
	}
	return t
}

// httpHeader reads the header of tcp.
func httpHeader(h *object) *option.Transport {
	switch kind := h.text("type"); kind {
	case "", "none":
		h.drop()
		return nil
	case "http":
	default:
		h.fail("type", "is %.16q, must be none or http", kind)
		return nil
	}
	h.ignore("response")
	request := h.object("request")
	request.ignore("version")
	t := &option.Transport{Type: constant.TransportTCPHTTPHeader, Method: request.text("method"), Paths: request.texts("path")}
	var host []string
	t.Headers, host = headers(request)
	t.Host = host
	return t
}

// headers takes the member of that name; Host is a matter of its own.
func headers(o *object) (all map[string]option.Listable[string], host []string) {
	h := o.object("headers")
	for lower, name := range h.names {
		values := h.texts(lower)
		switch {
		case lower == "host":
			host = values
		case len(values) > 0:
			if all == nil {
				all = make(map[string]option.Listable[string])
			}
			all[name] = values
		}
	}
	return all, host
}

func seconds(o *object, name string) option.Duration {
	const most = 24 * 3600
	return option.Duration(time.Duration(o.number(name, most)) * time.Second)
}

// clientTLS reads tlsSettings.
func clientTLS(s *object) *option.ClientTLS {
	t := &option.ClientTLS{
		Enabled:          true,
		ServerName:       s.text("serverName"),
		Insecure:         s.is("allowInsecure"),
		ALPN:             s.texts("alpn"),
		MinVersion:       s.text("minVersion"),
		MaxVersion:       s.text("maxVersion"),
		CurvePreferences: s.texts("curvePreferences"),
	}
	if names := s.text("cipherSuites"); names != "" {
		t.CipherSuites = strings.Split(names, ":")
	}
	if print := s.text("fingerprint"); print != "" && print != "none" {
		t.UTLS = &option.UTLS{Enabled: true, Fingerprint: print}
	}
	s.ignore("enableSessionResumption", "rejectUnknownSni", "masterKeyLog")
	return t
}
