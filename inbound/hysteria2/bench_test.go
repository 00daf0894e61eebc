package hysteria2

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/sagernet/quic-go"
	"github.com/sagernet/quic-go/http3"

	"heki/internal/protocol/hysteria2"
	"heki/option"
)

// idleConns is how many connections BenchmarkIdle opens.
const idleConns = 1000

// BenchmarkIdle prints what an idle connection of a user costs the server in heap and stacks. Goal: 60
// KiB. The clients are another process: this test binary again.
func BenchmarkIdle(b *testing.B) {
	var total float64
	for range b.N {
		in := start(b, option.Hysteria2{}, 1)
		before := inUse()
		cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run", "^TestIdleClients$")
		cmd.Env = append(os.Environ(), "HEKI_IDLE_CLIENTS="+in.Addresses()[0].String())
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		line := make([]byte, 100)
		n, err := out.Read(line)
		if err != nil || !strings.HasPrefix(string(line[:n]), "ready") {
			b.Fatalf("clients: %q, %v", line[:n], err)
		}
		if n := in.Open(); n != idleConns {
			b.Fatalf("%d connections", n)
		}
		total += float64(inUse()-before) / idleConns
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = in.Close()
	}
	b.ReportMetric(total/float64(b.N)/1024, "KiB/conn")
	b.ReportMetric(0, "ns/op")
}

// TestIdleClients is the other process of BenchmarkIdle. On its own it does nothing.
func TestIdleClients(t *testing.T) {
	server := os.Getenv("HEKI_IDLE_CLIENTS")
	if server == "" {
		return
	}
	to, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: socket}
	for range idleConns {
		c, err := tr.Dial(t.Context(), to, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, &quic.Config{EnableDatagrams: true, KeepAlivePeriod: 10e9})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://hysteria/auth", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(hysteria2.HeaderAuth, account(0).Password)
		resp, err := new(http3.Transport).NewClientConn(c).RoundTrip(req)
		if err != nil || resp.StatusCode != hysteria2.StatusOK {
			t.Fatal(err, strconv.Itoa(resp.StatusCode))
		}
		resp.Body.Close()
	}
	os.Stdout.WriteString("ready\n")
	select {}
}

// inUse is the live heap and the stacks, after a collection has freed and shrunk what it can.
func inUse() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
