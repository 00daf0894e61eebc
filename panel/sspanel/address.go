package sspanel

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"heki/constant"
	"heki/panel"
)

// defaultPort is the panel's own where an address names none.
const defaultPort = 443

// byAddress reads the node's settings out of its address, as panels before 2021-10 keep them.
// Source: reference/panels.md §3.7.
func (n *info) byAddress(each terms) (*panel.Node, terms, error) {
	out := &panel.Node{}
	var err error
	if n.sort == sortTrojan {
		err = trojanAddress(out, n.server)
	} else {
		err = v2rayAddress(out, n.server)
	}
	if err != nil {
		return nil, each, fmt.Errorf("server: %w", err)
	}
	each.flow, each.alterID = out.Flow, out.AlterID
	return out, each, nil
}

// v2rayAddress reads addr;port;alterId;segment;segment;options. Of the two segments one is the network and
// one says tls, in either order. The node listens on inside_port, or else on port.
func v2rayAddress(out *panel.Node, text string) error {
	parts := strings.Split(text, ";")
	for len(parts) < 6 {
		parts = append(parts, "")
	}
	options := readOptions(parts[5])
	out.Protocol = constant.TypeVMess
	if _, marked := options["enable_vless"]; marked {
		out.Protocol, out.Flow = constant.TypeVLESS, options["flow"]
	}
	var err error
	if out.Port, err = listenPort(cmp.Or(options["inside_port"], parts[1])); err != nil {
		return err
	}
	if parts[2] != "" {
		if out.AlterID, err = strconv.Atoi(parts[2]); err != nil || out.AlterID < 0 {
			return fmt.Errorf("alterId is %.32q, must be a number", parts[2])
		}
	}
	var header string
	for _, segment := range parts[3:5] {
		switch segment = strings.ToLower(segment); {
		case segment == "" || segment == "none":
		case segment == "tls" || segment == "xtls":
			out.TLS = panel.TLSOn
		case out.Network == "":
			out.Network = segment
		default: // beside a network it is the kind of header
			header = segment
		}
	}
	host := options["host"]
	out.Path, out.Host, out.ServiceName = options["path"], host, options["servicename"]
	if out.TLS == panel.TLSOn {
		out.ServerName = host
	}
	if cmp.Or(options["headerType"], header) == "http" && (out.Network == "" || out.Network == "tcp") {
		out.Network = constant.TransportTCPHTTPHeader
	}
	return nil
}

// trojanAddress reads addr;port=A#B|host=H|grpc=1|servicename=S. Clients connect to A; the node listens on
// B, or on A where there is no B.
func trojanAddress(out *panel.Node, text string) error {
	addr, rest, _ := strings.Cut(text, ";")
	rest, _, _ = strings.Cut(rest, ";")
	options := readOptions(rest)
	out.Protocol, out.TLS = constant.TypeTrojan, panel.TLSOn
	out.ServerName = cmp.Or(options["host"], addr)
	shown, inside, both := strings.Cut(options["port"], "#")
	if !both {
		inside = shown
	}
	var err error
	if out.Port, err = listenPort(inside); err != nil {
		return err
	}
	if _, grpc := options["grpc"]; grpc {
		out.Network, out.ServiceName = constant.TransportGRPC, options["servicename"]
	}
	return nil
}

// readOptions reads k=v|k=v; values may contain =.
func readOptions(text string) map[string]string {
	options := make(map[string]string)
	for option := range strings.SplitSeq(text, "|") {
		if key, value, _ := strings.Cut(option, "="); key != "" {
			options[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return options
}

// listenPort reads a port; none and 0 are the panel's default.
func listenPort(text string) (uint16, error) {
	if text = strings.TrimSpace(text); text == "" || text == "0" {
		return defaultPort, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("port is %.32q, must be 1 to 65535", text)
	}
	return uint16(n), nil
}
