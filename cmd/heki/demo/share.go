package demo

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"

	"heki/constant"
	"heki/panel/paneltest"
)

// shareLink is the URI that clients import. The certificate is our own, hence allowInsecure.
func shareLink(n paneltest.Node, u paneltest.User, name string) string {
	title := fmt.Sprintf("%s-%d-%s", n.Protocol, n.ID, name)
	if n.Protocol == constant.TypeVMess {
		return vmessLink(n, u, title)
	}
	if n.Protocol == constant.TypeShadowsocks {
		return ssLink(n, u, title)
	}
	// https://github.com/anytls/anytls-go/blob/main/docs/uri_scheme.md, https://v2.hysteria.network/docs/developers/URI-Scheme
	if n.Protocol == constant.TypeAnyTLS || n.Protocol == constant.TypeHysteria2 {
		return (&url.URL{
			Scheme: n.Protocol, User: url.User(u.UUID), Host: address(n), Path: "/",
			RawQuery: url.Values{"sni": {n.ServerName}, "insecure": {"1"}}.Encode(), Fragment: title,
		}).String()
	}
	q := url.Values{"security": {"tls"}, "sni": {n.ServerName}, "allowInsecure": {"1"}, "type": {"tcp"}}
	if n.Network == constant.TransportWS {
		q.Set("type", "ws")
		q.Set("path", n.Path)
	}
	if n.Protocol == constant.TypeVLESS {
		q.Set("encryption", "none")
	}
	link := url.URL{
		Scheme: n.Protocol, User: url.User(u.UUID), Host: address(n),
		RawQuery: q.Encode(), Fragment: title,
	}
	return link.String()
}

// vmessLink is v2rayN's form: JSON in base64.
func vmessLink(n paneltest.Node, u paneltest.User, title string) string {
	text, err := json.Marshal(map[string]string{
		"v": "2", "ps": title, "add": "127.0.0.1", "port": strconv.Itoa(n.Port), "id": u.UUID,
		"aid": "0", "scy": "auto", "net": "tcp", "type": "none", "tls": "",
	})
	if err != nil {
		return err.Error() // not reached: strings always marshal
	}
	return "vmess://" + base64.StdEncoding.EncodeToString(text)
}

func address(n paneltest.Node) string { return "127.0.0.1:" + strconv.Itoa(n.Port) }

func transportName(n paneltest.Node) string {
	name := cmp.Or(n.Network, "tcp")
	if n.Protocol == constant.TypeHysteria2 {
		name = "quic"
	}
	if n.Path != "" {
		name += " " + n.Path
	}
	switch n.TLS {
	case 1:
		name += " + tls"
	case 2:
		name += " + reality"
	}
	if n.Flow != "" {
		name += " + vision"
	}
	return name
}

// print tells the newcomer what runs and how to use it.
func (w *world) print(out io.Writer, dir, client string) {
	fmt.Fprintf(out, "A simulated XBoard listens on %s; heki has pulled its nodes and users.\n\n", w.panel.URL)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "node\tprotocol\taddress\ttransport\tusers")
	for _, n := range w.nodes {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\n", n.ID, n.Protocol, address(n), transportName(n), len(w.users))
	}
	t.Flush()
	fmt.Fprintln(out, "\nshare links (bob is limited to 50 Mbit/s, carol to 2 devices):")
	for _, u := range w.users {
		for _, n := range w.nodes {
			fmt.Fprintf(out, "  %s\n", w.link(n, u))
		}
	}
	fmt.Fprintf(out, "\nheki's own configuration:  %s\n", filepath.Join(dir, "heki.json"))
	fmt.Fprintf(out, "a sing-box client's:       %s\n", client)
	fmt.Fprintf(out, "try it:                    sing-box run -c %s\n", client)
	fmt.Fprintf(out, "                           curl -x socks5h://127.0.0.1:%d http://example.org/\n\n", clientPort)
}

// clientPort is the SOCKS port of the printed sing-box configuration.
const clientPort = 20808

// writeClient writes a sing-box configuration with every node for the first user.
func (w *world) writeClient(dir string) (string, error) {
	type object = map[string]any
	var outs []object
	var tags []string
	for _, n := range w.nodes {
		tag := fmt.Sprintf("%s-%d", n.Protocol, n.ID)
		tags = append(tags, tag)
		out := object{
			"type": n.Protocol, "tag": tag, "server": "127.0.0.1", "server_port": n.Port,
		}
		if n.TLS == 2 {
			out["tls"], out["flow"] = w.target.client(n), n.Flow
		}
		if n.TLS == 1 {
			out["tls"] = object{"enabled": true, "server_name": n.ServerName, "certificate_path": filepath.Join(dir, certFile)}
		}
		switch n.Protocol {
		case constant.TypeShadowsocks:
			out["method"], out["password"] = n.Cipher, ssPassword(w.users[0])
		case constant.TypeTrojan, constant.TypeAnyTLS, constant.TypeHysteria2:
			out["password"] = w.users[0].UUID
		default:
			out["uuid"] = w.users[0].UUID
		}
		if n.Network == constant.TransportWS {
			out["transport"] = object{"type": "ws", "path": n.Path}
		}
		outs = append(outs, out)
	}
	all := append([]object{{"type": "selector", "tag": "select", "outbounds": tags}}, outs...)
	text, err := json.MarshalIndent(object{
		"log":       object{"level": "warn"},
		"inbounds":  []object{{"type": "mixed", "tag": "in", "listen": "127.0.0.1", "listen_port": clientPort}},
		"outbounds": all,
		"route":     object{"final": "select"},
	}, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sing-box-client.json")
	return path, os.WriteFile(path, append(text, '\n'), 0o600)
}
