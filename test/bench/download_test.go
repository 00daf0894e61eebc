// Package bench compares what heki costs with what others cost, in one run with one client.
package bench

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"heki/test/harness"
)

// Rounds of a comparison, in which the servers take turns, and bytes of each download.
const (
	rounds = 5
	volume = 128 << 20
)

// BenchmarkDownload prints the CPU seconds per GB of a download from heki and from sing-box, by one
// sing-box client in one run. Run it with HEKI_RACE=0.
func BenchmarkDownload(b *testing.B) {
	for _, protocol := range []string{"hysteria2", "anytls"} {
		b.Run(protocol, func(b *testing.B) { compare(b, harness.Road{Protocol: protocol, TLS: true}) })
	}
}

func compare(b *testing.B, road harness.Road) {
	if harness.RaceEnabled() {
		b.Fatal("set HEKI_RACE=0")
	}
	targets, cert, user := harness.StartTargets(b), harness.NewCertificate(b), harness.Users()[0]
	var lanes []harness.Lane
	servers := make(map[string]*harness.Process)
	var first uint16
	for _, name := range []string{harness.Heki, harness.SingBox} {
		port := harness.FreePort(b)
		first = max(first, port)
		config := harness.JSON{"log": harness.JSON{"level": "warn"}, "inbounds": []harness.JSON{road.Inbound(port, cert, harness.Users())}}
		if name == harness.Heki {
			config["state_dir"] = b.TempDir()
		}
		servers[name] = harness.Run(b, name, harness.WriteConfig(b, config))
		servers[name].WaitInbound(b, road.Protocol, port)
		lanes = append(lanes, harness.Lane{Name: name, User: user, Extra: harness.JSON{"server_port": port}})
	}
	c := harness.StartClient(b, harness.SingBox, road, first, cert, lanes...)
	for range b.N {
		cost := make(map[string][]float64)
		for round := range rounds {
			for i := range lanes {
				name := lanes[(i+round)%len(lanes)].Name
				before := cpu(b, servers[name])
				download(b, c.Socks(name), targets)
				cost[name] = append(cost[name], (cpu(b, servers[name])-before)/volume*1e9)
			}
		}
		for name, all := range cost {
			slices.Sort(all)
			b.Logf("%s: %.2f s/GB (%.2f to %.2f)", name, all[len(all)/2], all[0], all[len(all)-1])
			b.ReportMetric(all[len(all)/2], name+"-s/GB")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// download moves volume bytes to the client.
func download(b *testing.B, socks harness.Socks, to *harness.Targets) {
	b.Helper()
	conn, err := socks.Dial(b.Context(), to.TCP)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "first %d 7 %d\n", volume, rand.Uint64()); err != nil { // each with a result of its own
		b.Fatal(err)
	}
	if n, err := io.CopyN(io.Discard, conn, volume); err != nil {
		b.Fatalf("%d bytes, %v", n, err)
	}
}

// cpu is what a process has used so far in seconds, user and system: proc_pid_stat(5).
func cpu(b *testing.B, p *harness.Process) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	total := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		total += n
	}
	const ticks = 100 // USER_HZ
	return float64(total) / ticks
}
