package harness

import (
	"context"
	"io"
	"maps"
	"time"
)

// mihomoConfig writes a mihomo client: https://wiki.metacubex.one/en/config/. JSON is YAML.
// The SOCKS port called direct leads past the server.
func mihomoConfig(road Road, port uint16, cert *Certificate, lanes []Lane, ports map[string]uint16, direct uint16) JSON {
	listeners := []JSON{{"name": "in", "type": "socks", "listen": Loopback, "port": direct, "proxy": "DIRECT"}}
	var proxies []JSON
	for _, lane := range lanes {
		out := "out-" + lane.Name
		listeners = append(listeners, JSON{
			"name": "in-" + lane.Name, "type": "socks", "listen": Loopback, "port": ports[lane.Name], "udp": true, "proxy": out,
		})
		proxy := mihomoProxy(road, port, cert, lane)
		proxy["name"] = out
		proxies = append(proxies, proxy)
	}
	return JSON{
		"log-level": "debug", "mode": "rule", "ipv6": false,
		"profile":   JSON{"store-selected": false, "store-fake-ip": false},
		"listeners": listeners, "proxies": proxies, "rules": []string{"MATCH,REJECT"},
	}
}

// mihomoProxy is one lane's outbound. Of a protocol that it does not know it writes only what all share;
// Lane.Extra has the rest.
func mihomoProxy(road Road, port uint16, cert *Certificate, lane Lane) JSON {
	road, port = lane.way(road, port)
	out := JSON{"type": road.Protocol, "server": Loopback, "port": port, "udp": true}
	sni := "sni"
	switch road.Protocol {
	case "shadowsocks":
		out["type"], out["cipher"], out["password"] = "ss", road.Method, road.ssSecret(lane.User)
		if road.Obfs {
			out["plugin"], out["plugin-opts"] = "obfs", JSON{"mode": "http", "host": ServerName}
		}
	case "trojan", "anytls", "hysteria2":
		out["password"] = lane.User.Password
	case "vless":
		out["uuid"], out["packet-encoding"], sni = lane.User.UUID, lane.Encoding, "servername"
		if lane.Flow != "" {
			out["flow"] = lane.Flow
		}
	case "vmess":
		out["uuid"], out["packet-encoding"], sni = lane.User.UUID, lane.Encoding, "servername"
		out["alterId"], out["cipher"] = lane.User.AlterID, "auto"
		if lane.Security != "" {
			out["cipher"] = lane.Security
		}
		out["global-padding"], out["authenticated-length"] = lane.Padding, lane.Padding
	}
	if road.TLS {
		out["tls"], out[sni], out["fingerprint"] = true, ServerName, cert.SHA256
		if lane.UTLS != "" {
			out["client-fingerprint"] = lane.UTLS
		}
	}
	if road.Reality != nil {
		out["tls"], out[sni] = true, ServerName
		road.Reality.mihomo(out, lane)
	}
	mihomoTransport(out, road)
	if lane.SingMux != "" {
		out["smux"] = JSON{"enabled": true, "protocol": lane.SingMux, "max-connections": 2, "min-streams": 4, "padding": lane.Padded}
	}
	maps.Copy(out, lane.Extra)
	return out
}

func mihomoTransport(out JSON, road Road) {
	switch road.Transport {
	case "ws", "httpupgrade":
		ws := JSON{"path": Path, "headers": JSON{"Host": ServerName}}
		if road.EarlyData > 0 {
			ws["max-early-data"], ws["early-data-header-name"] = road.EarlyData, road.EarlyHeader
		}
		if road.Transport == "httpupgrade" {
			ws["v2ray-http-upgrade"] = true
		}
		out["network"], out["ws-opts"] = "ws", ws
	case "http":
		out["network"], out["h2-opts"] = "h2", JSON{"path": Path, "host": []string{ServerName}}
	case "grpc":
		out["network"], out["grpc-opts"] = "grpc", JSON{"grpc-service-name": Service}
	case "tcp_http_header":
		out["network"], out["http-opts"] = "http", JSON{"path": []string{Path}, "headers": JSON{"Host": []string{ServerName}}}
	}
}

// relays says whether a mihomo whose port leads to address without a proxy does so already. It listens
// before that, and closes what comes.
func relays(port Socks, address string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := port.Dial(ctx, address)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	var method [2]byte
	if _, err := conn.Write([]byte{socksVersion, 1, socksNoAuth}); err != nil {
		return false
	}
	_, err = io.ReadFull(conn, method[:])
	return err == nil
}
