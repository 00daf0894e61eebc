package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"heki/constant"
)

// versionCommand prints what this binary is.
func versionCommand() *cobra.Command {
	var short bool
	c := &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if short {
				fmt.Fprintln(cmd.OutOrStdout(), constant.Version)
				return nil
			}
			info, _ := debug.ReadBuildInfo()
			fmt.Fprint(cmd.OutOrStdout(), versionText(info))
			return nil
		},
	}
	c.Flags().BoolVar(&short, "short", false, "the number alone")
	return c
}

// versionText says which source was built how. info may be nil.
func versionText(info *debug.BuildInfo) string {
	var b strings.Builder
	fmt.Fprintf(&b, "heki %s\n", constant.Version)
	fmt.Fprintf(&b, "go: %s %s/%s\n", strings.TrimPrefix(runtime.Version(), "go"), runtime.GOOS, runtime.GOARCH)
	if info == nil {
		return b.String()
	}
	settings := make(map[string]string, len(info.Settings))
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if revision := settings["vcs.revision"]; revision != "" {
		if settings["vcs.modified"] == "true" {
			revision += " with changes"
		}
		fmt.Fprintf(&b, "revision: %s %s\n", revision, settings["vcs.time"])
	}
	if tags := settings["-tags"]; tags != "" {
		fmt.Fprintf(&b, "tags: %s\n", tags)
	}
	return b.String()
}
