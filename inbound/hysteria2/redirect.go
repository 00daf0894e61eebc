package hysteria2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"heki/option"
)

const (
	// tablePrefix begins the names of our nftables tables: heki_hop_PORT_HASH.
	tablePrefix = "heki_hop_"
	// nftTimeout bounds a run of nft.
	nftTimeout = 10 * time.Second
)

// tableName is the same in each process that binds that address, of which there is one: so what a crashed
// one left is replaced.
func tableName(key portKey, port uint16) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s %s", key.addr.Addr(), key.device)
	return fmt.Sprintf("%s%d_%08x", tablePrefix, port, h.Sum32())
}

// redirect leads ranges, at least one, to port, in place of what the table held.
func redirect(key portKey, port uint16, ranges []option.PortRange) error {
	return nft(redirectScript(key, port, ranges))
}

// endRedirect removes the table.
func endRedirect(key portKey, port uint16) error {
	return nft("delete table inet " + tableName(key, port) + "\n")
}

// redirectScript is one transaction. The destination address stays, so that answers and outbounds with
// bind "inbound" have the right one. Datagrams of programs on this machine count only when they go to
// the address that clients use: what talks to itself on 127.0.0.1 is somebody else's.
func redirectScript(key portKey, port uint16, ranges []option.PortRange) string {
	name, addr := tableName(key, port), key.addr.Addr().Unmap()
	ports := make([]string, len(ranges))
	for i, r := range ranges {
		ports[i] = r.String()
	}
	to := fmt.Sprintf("udp dport { %s } dnat to :%d", strings.Join(ports, ", "), port)
	var remote, local []string
	switch {
	case !addr.IsUnspecified():
		family := "ip"
		if addr.Is6() {
			family = "ip6"
		}
		remote = []string{family + " daddr " + addr.WithZone("").String()}
		local = remote
	default:
		remote = []string{"fib daddr type local"}
		local = []string{"ip daddr != 127.0.0.0/8 fib daddr type local"}
		if addr.Is4() {
			remote[0] = "meta nfproto ipv4 " + remote[0]
		} else {
			local = append(local, "ip6 daddr != ::1 fib daddr type local")
		}
	}
	device := ""
	if key.device != "" {
		device = "iifname " + strconv.Quote(key.device) + " "
		local = nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "add table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n", name) // add: there may be none to delete
	chain := func(hook string, matches []string) {
		fmt.Fprintf(&b, "\tchain %[1]s {\n\t\ttype nat hook %[1]s priority -100; policy accept;\n", hook) // -100 is dstnat
		for _, m := range matches {
			fmt.Fprintf(&b, "\t\t%s%s %s\n", device, m, to)
		}
		b.WriteString("\t}\n")
	}
	chain("prerouting", remote)
	if len(local) > 0 {
		chain("output", local)
	}
	b.WriteString("}\n")
	return b.String()
}

// nft runs a script. It fails without the program, without CAP_NET_ADMIN and on old kernels.
func nft(script string) error {
	_, err := runNFT(strings.NewReader(script), "-f", "-")
	return err
}

func runNFT(stdin *strings.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), nftTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nft", args...)
	cmd.Stdin = stdin
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n")
		if first != "" {
			err = fmt.Errorf("%w: %.200s", err, first)
		}
		return "", fmt.Errorf("nft: %w", err)
	}
	return out.String(), nil
}

// removeStale removes the tables that lead to ports that nobody has: a process that crashed left them.
// It returns their names.
func removeStale() ([]string, error) {
	out, err := runNFT(strings.NewReader(""), "list", "tables", "inet")
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(out) {
		if name := strings.TrimPrefix(strings.TrimSpace(line), "table inet "); strings.HasPrefix(name, tablePrefix) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	bound, err := boundPorts()
	if err != nil {
		return nil, err
	}
	var gone []string
	var errs []error
	for _, name := range names {
		text, _, _ := strings.Cut(strings.TrimPrefix(name, tablePrefix), "_")
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || bound[uint16(port)] {
			continue
		}
		errs = append(errs, nft("delete table inet "+name+"\n"))
		gone = append(gone, name)
	}
	return gone, errors.Join(errs...)
}

// boundPorts are the UDP ports that any process has: proc_net(5).
func boundPorts() (map[uint16]bool, error) {
	ports := make(map[uint16]bool)
	for _, name := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // no IPv6
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 2 {
				continue
			}
			_, hex, _ := strings.Cut(fields[1], ":")
			if port, err := strconv.ParseUint(hex, 16, 16); err == nil {
				ports[uint16(port)] = true
			}
		}
	}
	return ports, nil
}

// without returns ranges less port, which is bound already.
func without(ranges []option.PortRange, port uint16) []option.PortRange {
	var rest []option.PortRange
	for _, r := range ranges {
		if port < r.First || port > r.Last {
			rest = append(rest, r)
			continue
		}
		if r.First < port {
			rest = append(rest, option.PortRange{First: r.First, Last: port - 1})
		}
		if port < r.Last {
			rest = append(rest, option.PortRange{First: port + 1, Last: r.Last})
		}
	}
	return rest
}
