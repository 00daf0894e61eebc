// Command heki is a node server for subscription panels.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// Exit codes. 78 is EX_CONFIG of sysexits.h: a service manager must not restart on it. exitSignal is
// added to the number of a signal that ended heki at once, as shells do.
const (
	exitFailure = 1
	exitUsage   = 2
	exitConfig  = 78
	exitSignal  = 128
)

// exit is an error with the code to leave with. A nil err was reported already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

func main() {
	os.Exit(run(os.Args[1:]))
}

// run is main with its arguments and result.
func run(args []string) int {
	root := &cobra.Command{
		Use:           "heki",
		Short:         "node server for subscription panels",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(runCommand(), checkCommand(), generateCommand(), trafficCommand(), versionCommand(), demoCommand())
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		return 0
	}
	var known *exit
	if !errors.As(err, &known) {
		// What is left comes from cobra itself: an unknown command or flag.
		known = &exit{exitUsage, fmt.Errorf("%w\nsee heki --help", err)}
	}
	if known.err != nil {
		fmt.Fprintln(os.Stderr, "heki:", known.err)
	}
	return known.code
}
