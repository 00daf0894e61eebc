package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"heki/internal/app"
	"heki/option"
)

func checkCommand() *cobra.Command {
	var path string
	var asJSON, online bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "find every mistake in the configuration; exit code 78 when there is one",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := option.Load(path, app.Check)
			if online && err == nil {
				for _, doubt := range app.CheckOnline(cmd.Context(), options) {
					fmt.Fprintln(cmd.ErrOrStderr(), "warning:", doubt)
				}
			}
			if asJSON {
				return checkJSON(cmd.OutOrStdout(), err)
			}
			if err != nil {
				return &exit{exitConfig, fmt.Errorf("%s is wrong:\n%w", path, err)}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is right: %s\n", path, summary(options))
			return nil
		},
	}
	addConfigFlag(cmd, &path)
	cmd.Flags().BoolVar(&online, "online", false, "also ask the targets of REALITY and the panels of machines, and warn on stderr when one does not fit")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the mistakes as a JSON list of path, line, column, message")
	return cmd
}

// checkJSON prints the mistakes for programs: an empty list when there is none.
func checkJSON(out io.Writer, err error) error {
	mistakes := option.MistakesOf(err)
	if mistakes == nil {
		mistakes = option.Mistakes{}
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(mistakes); err != nil {
		return &exit{exitFailure, err}
	}
	if len(mistakes) > 0 {
		return &exit{exitConfig, nil}
	}
	return nil
}

// summary counts what a configuration holds.
func summary(o *option.Options) string {
	nodes, machines := 0, 0
	for _, p := range o.Panels {
		if p.MachineID != 0 {
			machines++ // the panel lists its nodes
		} else {
			nodes += len(p.Nodes)
		}
	}
	text := fmt.Sprintf("%d inbounds, %d outbounds, %d panels with %d nodes", len(o.Inbounds), len(o.Outbounds), len(o.Panels), nodes)
	if machines > 0 {
		text += fmt.Sprintf(" and those of %d machines", machines)
	}
	return text
}
