// Package test drives a real heki process with real clients, a simulated panel and plain probes.
package test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"heki/test/harness"
)

// TestMain builds what is missing before the clock of -timeout starts.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		os.Exit(1)
	}
	// Most of a test's time is spent waiting for intervals and for other processes.
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		parallel.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0)))
	}
	code := m.Run()
	harness.Repeated()
	harness.RemoveHekiBinary()
	os.Exit(code)
}

func prepare() error {
	for _, client := range []string{harness.SingBox, harness.Xray, harness.Mihomo} {
		if _, err := harness.Binary(client); err != nil {
			return err
		}
	}
	if harness.UnderTest() != harness.Heki {
		return nil
	}
	_, err := harness.HekiBinary()
	return err
}
