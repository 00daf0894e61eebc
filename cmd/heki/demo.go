package main

import (
	"context"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"heki/cmd/heki/demo"
)

func demoCommand() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "serve a simulated panel's nodes on loopback: heki's main job, without a panel",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			o.Out = cmd.OutOrStdout()
			if err := demo.Run(ctx, o); err != nil {
				return &exit{exitFailure, err}
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&o.For, "for", 0, "end after this `time`; 0 is until Ctrl-C")
	cmd.Flags().DurationVar(&o.Every, "every", 3*time.Second, "`time` between two live lines")
	cmd.Flags().StringVar(&o.Dir, "dir", "", "`directory` for the configuration files; default a temporary one")
	cmd.Flags().BoolVar(&o.NoTraffic, "no-traffic", false, "no built-in clients: only what you connect")
	return cmd
}
