package harness

import (
	"fmt"
	"maps"
)

// xrayConfig writes an Xray client: https://xtls.github.io/config/. V2Ray 4.34 reads the same.
func xrayConfig(road Road, port uint16, cert *Certificate, lanes []Lane, ports map[string]uint16) JSON {
	var inbounds, outbounds, rules []JSON
	for _, lane := range lanes {
		inbounds = append(inbounds, JSON{
			"protocol": "socks", "tag": "in-" + lane.Name, "listen": Loopback, "port": ports[lane.Name],
			"settings": JSON{"auth": "noauth", "udp": true, "ip": Loopback},
		})
		out := JSON{"protocol": road.Protocol, "tag": "out-" + lane.Name, "settings": xraySettings(road, port, lane), "streamSettings": xrayStream(road, cert, lane)}
		if lane.Mux {
			out["mux"] = JSON{"enabled": true, "concurrency": 8, "xudpConcurrency": 8, "xudpProxyUDP443": "allow"}
		}
		maps.Copy(out, lane.Extra)
		outbounds = append(outbounds, out)
		rules = append(rules, JSON{"type": "field", "inboundTag": []string{"in-" + lane.Name}, "outboundTag": "out-" + lane.Name})
	}
	return JSON{
		"log":      JSON{"loglevel": "info"},
		"inbounds": inbounds, "outbounds": outbounds, "routing": JSON{"rules": rules},
	}
}

// xraySettings is how one lane logs in.
func xraySettings(road Road, port uint16, lane Lane) JSON {
	switch road.Protocol {
	case "shadowsocks":
		return JSON{"servers": []JSON{{"address": Loopback, "port": port, "method": road.Method, "password": road.ssSecret(lane.User)}}}
	case "trojan":
		return JSON{"servers": []JSON{{"address": Loopback, "port": port, "password": lane.User.Password}}}
	case "vmess":
		user := JSON{"id": lane.User.UUID, "alterId": lane.User.AlterID}
		if lane.Security != "" {
			user["security"] = lane.Security
		}
		return JSON{"vnext": []JSON{{"address": Loopback, "port": port, "users": []JSON{user}}}}
	}
	return JSON{"address": Loopback, "port": port, "id": lane.User.UUID, "encryption": "none", "flow": lane.Flow}
}

func xrayStream(road Road, cert *Certificate, lane Lane) JSON {
	s := JSON{"network": "tcp", "security": "none"}
	switch road.Transport {
	case "ws":
		path := Path
		if road.EarlyData > 0 { // always in Sec-WebSocket-Protocol
			path += fmt.Sprintf("?ed=%d", road.EarlyData)
		}
		s["network"], s["wsSettings"] = "ws", JSON{"path": path, "host": ServerName}
	case "httpupgrade":
		s["network"], s["httpupgradeSettings"] = "httpupgrade", JSON{"path": Path, "host": ServerName}
	case "grpc":
		s["network"], s["grpcSettings"] = "grpc", JSON{"serviceName": Service, "multiMode": road.Multi}
	case "http": // V2Ray alone
		s["network"], s["httpSettings"] = "http", JSON{"path": Path, "host": []string{ServerName}}
	case "tcp_http_header":
		request := JSON{"path": []string{Path}, "headers": JSON{"Host": []string{ServerName}}}
		s["tcpSettings"] = JSON{"header": JSON{"type": "http", "request": request}}
	}
	if road.TLS {
		s["security"] = "tls"
		s["tlsSettings"] = JSON{
			"serverName": ServerName, "pinnedPeerCertSha256": cert.SHA256,
			"certificates": []JSON{{"usage": "verify", "certificateFile": cert.CAPath}}, // V2Ray knows no pins
		}
	}
	if road.Reality != nil {
		s["security"], s["realitySettings"] = "reality", road.Reality.xray(lane)
	}
	return s
}
