package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Times that no healthy run comes near.
const (
	startTimeout = 30 * time.Second // exec to a listening port, race detector and busy cores included
	stopTimeout  = 30 * time.Second // SIGTERM to exit; heki promises 10 s, with a core of its own
)

// Process is one child with its own process group.
type Process struct {
	Name string

	cmd    *exec.Cmd
	log    logBuffer
	asked  atomic.Bool   // to end
	exited chan struct{} // closed after Wait
	err    error         // of Wait; read after exited
}

// Start runs a program and ends it when the test does. Its output is shown only if the test failed. A
// test's programs that are not ours run within Twice.
func Start(t testing.TB, name, path string, args ...string) *Process {
	t.Helper()
	if _, once := t.(*testing.T); once && !strings.HasPrefix(name, Heki) && name != UnderTest() {
		t.Fatalf("%s is not ours: it needs harness.Twice or harness.Cell", name)
	}
	p := &Process{Name: name, cmd: exec.Command(path, args...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.Env = append(append(os.Environ(), libraries(path)...), "GORACE=exitcode=66 halt_on_error=0")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		ended := p.ended() && !p.asked.Load()
		code, err := p.Stop()
		if err != nil {
			t.Errorf("%v (exit code %d)", err, code)
		}
		crashed := crashed(p.Log())
		if crashed {
			t.Errorf("%s raced or panicked", name)
		}
		if name == Heki && (ended || err != nil || crashed) {
			Unforgivable(t)
		}
		if t.Failed() {
			t.Logf("log of %s (process %d):\n%s", name, p.PID(), p.log.ends())
		}
	})
	return p
}

// crashed says whether Go's runtime has complained in log.
func crashed(log string) bool {
	for _, words := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if strings.Contains(log, words) {
			return true
		}
	}
	return false
}

// PID is the process id, which is also the id of its group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is everything that the process has written so far, up to 4 MiB.
func (p *Process) Log() string { return p.log.String() }

// Descriptors counts the open files of the process; -1 where /proc does not tell.
func (p *Process) Descriptors() int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	if err != nil {
		return -1
	}
	return len(entries)
}

// Exited is closed once the process is gone.
func (p *Process) Exited() <-chan struct{} { return p.exited }

func (p *Process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Signal sends a signal to the process alone.
func (p *Process) Signal(s os.Signal) error {
	if s != syscall.SIGHUP {
		p.asked.Store(true)
	}
	return p.cmd.Process.Signal(s)
}

// Stop asks the process to end, kills its group when it does not within 30 s, and returns the exit
// code: 128 plus the signal's number when a signal ended it. Calling it again returns the same.
func (p *Process) Stop() (code int, err error) {
	if p.ended() {
		return p.exitCode(), nil
	}
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return p.exitCode(), nil
	case <-time.After(stopTimeout):
	}
	// A goroutine dump into the log tells what hangs.
	p.Signal(syscall.SIGQUIT)
	select {
	case <-p.exited:
	case <-time.After(2 * time.Second):
		syscall.Kill(-p.PID(), syscall.SIGKILL)
		<-p.exited
	}
	return p.exitCode(), fmt.Errorf("%s (process %d) did not end within %s of SIGTERM", p.Name, p.PID(), stopTimeout)
}

// Wait returns the exit code once the process has ended by itself.
func (p *Process) Wait(ctx context.Context) (code int, err error) {
	select {
	case <-p.exited:
		return p.exitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("%s still runs: %w", p.Name, ctx.Err())
	}
}

func (p *Process) exitCode() int {
	var exit *exec.ExitError
	if !errors.As(p.err, &exit) {
		return 0
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

// WaitPort waits until something accepts TCP connections on address, and fails the test when the
// process ends first or 30 s pass.
func (p *Process) WaitPort(t testing.TB, address string) {
	t.Helper()
	p.WaitFor(t, "listens on "+address, func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

// WaitLog waits until the log holds text.
func (p *Process) WaitLog(t testing.TB, text string) {
	t.Helper()
	p.WaitFor(t, fmt.Sprintf("logs %q", text), func() bool { return strings.Contains(p.Log(), text) })
}

// WaitFor polls until done, and fails the test when the process ends first or 30 s pass.
func (p *Process) WaitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.After(startTimeout)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-p.exited:
			t.Fatalf("%s ended with code %d before it %s", p.Name, p.exitCode(), what)
		case <-deadline:
			t.Fatalf("%s: %s passed before it %s", p.Name, startTimeout, what)
		case <-tick.C:
		}
	}
}

// logBuffer keeps the first 4 MiB of a process's output.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const maxLog = 4 << 20

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if room := maxLog - b.buf.Len(); room > 0 {
		b.buf.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// ends is what a failed test shows: the first 4 KiB and the last 16 KiB.
func (b *logBuffer) ends() string {
	const first, last = 4 << 10, 16 << 10
	s := b.String()
	if len(s) <= first+last {
		return s
	}
	return s[:first] + "\n…\n" + s[len(s)-last:]
}

// WaitUDP waits until something has the UDP port. It asks the kernel: to try to bind the port could be what
// keeps the process from it.
func (p *Process) WaitUDP(t testing.TB, port uint16) {
	t.Helper()
	p.WaitFor(t, fmt.Sprintf("receives on UDP port %d", port), func() bool {
		for _, file := range []string{"/proc/net/udp", "/proc/net/udp6"} {
			table, _ := os.ReadFile(file) // proc(5): "sl: local_address:port remote_address:port …" in hex
			for line := range strings.Lines(string(table)) {
				if f := strings.Fields(line); len(f) > 1 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
					return true
				}
			}
		}
		return false
	})
}

// WaitInbound waits until an inbound listens, on both networks where it has both.
func (p *Process) WaitInbound(t testing.TB, protocol string, port uint16) {
	t.Helper()
	if protocol != "hysteria2" {
		p.WaitPort(t, Address(port))
	}
	if protocol == "hysteria2" || protocol == "shadowsocks" {
		p.WaitUDP(t, port)
	}
}
