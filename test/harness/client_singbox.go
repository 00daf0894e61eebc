package harness

import "maps"

// singBoxConfig writes a sing-box client: https://sing-box.sagernet.org/configuration/.
func singBoxConfig(road Road, port uint16, cert *Certificate, lanes []Lane, ports map[string]uint16) JSON {
	var inbounds, outbounds, rules []JSON
	for _, lane := range lanes {
		inbounds = append(inbounds, JSON{"type": "socks", "tag": "in-" + lane.Name, "listen": Loopback, "listen_port": ports[lane.Name]})
		outbounds = append(outbounds, singBoxOutbound(road, port, cert, lane))
		rules = append(rules, JSON{"inbound": []string{"in-" + lane.Name}, "outbound": "out-" + lane.Name})
	}
	return JSON{
		"log":      JSON{"level": "debug"},
		"inbounds": inbounds, "outbounds": outbounds, "route": JSON{"rules": rules},
	}
}

func singBoxOutbound(road Road, port uint16, cert *Certificate, lane Lane) JSON {
	road, port = lane.way(road, port)
	out := JSON{"type": road.Protocol, "tag": "out-" + lane.Name, "server": Loopback, "server_port": port}
	switch road.Protocol {
	case "shadowsocks":
		out["method"], out["password"] = road.Method, road.ssSecret(lane.User)
		if road.Obfs {
			out["plugin"], out["plugin_opts"] = "obfs-local", "obfs=http;obfs-host="+ServerName
		}
	case "trojan", "anytls", "hysteria2":
		out["password"] = lane.User.Password
	case "vless":
		out["uuid"], out["packet_encoding"] = lane.User.UUID, lane.Encoding
		if lane.Flow != "" {
			out["flow"] = lane.Flow
		}
	case "vmess":
		out["uuid"], out["packet_encoding"], out["alter_id"] = lane.User.UUID, lane.Encoding, lane.User.AlterID
		if lane.Security != "" {
			out["security"] = lane.Security
		}
		out["global_padding"], out["authenticated_length"] = lane.Padding, lane.Padding
	}
	if road.TLS {
		tls := JSON{"enabled": true, "server_name": ServerName, "certificate_path": cert.CAPath}
		if lane.UTLS != "" {
			tls["utls"] = JSON{"enabled": true, "fingerprint": lane.UTLS}
		}
		out["tls"] = tls
	}
	if road.Reality != nil {
		out["tls"] = road.Reality.singBox(lane)
	}
	if t := road.transport(); t != nil {
		out["transport"] = t
	}
	if lane.SingMux != "" {
		out["multiplex"] = JSON{"enabled": true, "protocol": lane.SingMux, "max_connections": 2, "min_streams": 4, "padding": lane.Padded}
	}
	maps.Copy(out, lane.Extra)
	return out
}
