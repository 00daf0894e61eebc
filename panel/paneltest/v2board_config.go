package paneltest

import "net/http"

// config answers config in the shape of the node's type, or of version 2.
func (d v2board) config(n *node, v2 bool) *answer {
	body := []byte(n.raw)
	switch {
	case n.raw != "":
	case v2:
		body = php(withTail(configV2Of(&n.row), &n.row, true))
	default:
		body = php(withTail(d.configOf(&n.row), &n.row, false))
	}
	return &answer{status: http.StatusOK, body: body, etag: etagOf(body), bare: v2}
}

// object is a JSON object. Its members come out by name, which no client may depend on.
type object = map[string]any

// withTail adds what ends every answer. Version 2 has more in base_config.
func withTail(o object, row *Node, v2 bool) object {
	base := object{"push_interval": 60, "pull_interval": 60}
	if row.Push > 0 {
		base["push_interval"] = row.Push
	}
	if row.Pull > 0 {
		base["pull_interval"] = row.Pull
	}
	if v2 {
		base["node_report_min_traffic"], base["device_online_min_traffic"] = 0, 0
	}
	o["base_config"] = base
	if len(row.Routes) > 0 {
		o["routes"] = row.Routes
	}
	return o
}

// orNull is null for an empty text.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func network(row *Node) string {
	if row.Network == "" {
		return "tcp"
	}
	return row.Network
}

// configOf is version 1's answer: each table has its own columns.
func (d v2board) configOf(row *Node) object {
	switch row.Protocol {
	case "trojan":
		o := object{"host": row.ServerName, "server_port": row.Port, "server_name": orNull(row.ServerName)}
		if d.xiao {
			o["network"], o["networkSettings"] = orNull(row.Network), networkSettings(row)
		}
		return o
	case "shadowsocks":
		o := object{"server_port": row.Port, "cipher": row.Cipher, "obfs": orNull(row.Obfs), "obfs_settings": nil}
		if row.Obfs != "" {
			o["obfs_settings"] = object{"path": row.Path, "host": row.Host}
		}
		if row.ServerKey != "" {
			o["server_key"] = row.ServerKey
		}
		return o
	case "vless":
		return object{
			"server_port": row.Port, "network": network(row), "networkSettings": networkSettings(row), "tls": row.TLS,
			"flow": orNull(row.Flow), "tls_settings": xiaoTLS(row), "encryption": nil, "encryption_settings": nil,
		}
	case "hysteria2":
		return object{
			"version": 2, "host": row.ServerName, "server_port": row.Port, "server_name": row.ServerName, "up_mbps": row.UpMbps,
			"down_mbps": row.DownMbps, "ignore_client_bandwidth": row.UpMbps == 0 && row.DownMbps == 0,
			"obfs": orNull(row.Obfs), "obfs-password": orNull(row.ObfsPassword),
		}
	case "anytls":
		return object{"server_port": row.Port, "server_name": orNull(row.ServerName), "padding_scheme": row.Padding}
	}
	return object{"server_port": row.Port, "network": network(row), "networkSettings": networkSettings(row), "tls": row.TLS}
}

// xiaoTLS is tls_settings, in which a form's every number is a text.
func xiaoTLS(row *Node) any {
	switch row.TLS {
	case 0:
		return []int{}
	case 2:
		return object{
			"server_name": row.ServerName, "dest": row.Dest, "server_port": row.DestPort, "public_key": "PUB",
			"private_key": row.PrivateKey, "short_id": row.ShortID, "xver": "0", "fingerprint": "chrome", "allow_insecure": "0",
		}
	}
	return object{"server_name": row.ServerName, "allow_insecure": "0"}
}

// configV2Of is version 2's answer: every column of one table, null where it means nothing.
func configV2Of(row *Node) object {
	o := object{
		"listen_ip": "0.0.0.0", "server_port": row.Port, "network": network(row), "network_settings": networkSettings(row),
		"protocol": row.Protocol, "tls": row.TLS, "tls_settings": xiaoTLS(row), "encryption": nil, "encryption_settings": nil,
		"flow": orNull(row.Flow), "cipher": orNull(row.Cipher), "congestion_control": nil, "zero_rtt_handshake": false,
		"up_mbps": row.UpMbps, "down_mbps": row.DownMbps, "obfs": orNull(row.Obfs), "obfs_password": orNull(row.ObfsPassword),
		"padding_scheme": nil, "ignore_client_bandwidth": row.UpMbps == 0 && row.DownMbps == 0,
	}
	if len(row.Padding) > 0 {
		o["padding_scheme"] = row.Padding
	}
	if row.ServerKey != "" {
		o["server_key"] = row.ServerKey
	}
	return o
}
