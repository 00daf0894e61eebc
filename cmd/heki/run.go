package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"heki/constant"
	"heki/internal/app"
	"heki/internal/log"
	"heki/option"
)

// defaultConfig is where the packages put the configuration.
const defaultConfig = "/etc/heki/config.json"

func runCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "serve until SIGTERM; SIGHUP reloads the configuration, SIGUSR1 reopens the log",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return serve(path) },
	}
	addConfigFlag(cmd, &path)
	return cmd
}

func addConfigFlag(cmd *cobra.Command, path *string) {
	*path = defaultConfig
	if env := os.Getenv("HEKI_CONFIG"); env != "" {
		*path = env
	}
	cmd.Flags().StringVarP(path, "config", "c", *path, "configuration `file`, or a directory whose *.json are merged")
}

// serve runs the configuration at path until a signal ends it.
func serve(path string) error {
	options, err := load(path)
	if err != nil {
		return &exit{exitConfig, err}
	}
	logger, err := log.New(options.Log)
	if err != nil {
		return &exit{exitConfig, fmt.Errorf("log: %w", err)}
	}
	defer logger.Close()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGPIPE) // whoever reads the log may go away
	a, err := app.New(options, logger.Slog())
	if err != nil {
		return &exit{exitConfig, err}
	}
	if err := a.Start(); err != nil {
		stop(a, signals)
		return &exit{exitFailure, err}
	}
	slog := logger.Slog()
	slog.Info("heki is running", "version", constant.Version, "config", path)
	for {
		switch s := <-signals; s {
		case syscall.SIGHUP:
			reload(a, logger, path)
		case syscall.SIGUSR1:
			if err := logger.Reopen(); err != nil {
				slog.Error("reopen the log", "err", err)
			}
		default:
			slog.Info("stopping", "signal", s.String())
			return stop(a, signals)
		}
	}
}

// load reads and checks the whole configuration.
func load(path string) (*option.Options, error) { return option.Load(path, app.Check) }

// reload puts a changed configuration in force, or says why not and changes nothing.
func reload(a *app.App, logger *log.Logger, path string) {
	slog := logger.Slog()
	options, err := load(path)
	if err == nil {
		err = a.Reload(options)
	}
	if err != nil {
		slog.Error("the new configuration is not used, the old one stays in force", "config", path, "err", err)
		return
	}
	if err := logger.Reconfigure(options.Log); err != nil {
		slog.Error("the log stays as it was", "err", err)
	}
	slog.Info("configuration reloaded", "config", path)
}

// stop closes a within constant.StopTimeout. A second signal ends it at once.
func stop(a *app.App, signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), constant.StopTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Close(ctx) }()
	for {
		select {
		case err := <-done:
			if err != nil {
				return &exit{exitFailure, fmt.Errorf("stop: %w", err)}
			}
			return nil
		case s := <-signals:
			if n, ok := s.(syscall.Signal); ok && (n == syscall.SIGINT || n == syscall.SIGTERM) {
				return &exit{exitSignal + int(n), fmt.Errorf("stopped by a second %s before the end of the final report", s)}
			}
		case <-ctx.Done():
			return &exit{exitFailure, fmt.Errorf("not everything closed within %s", constant.StopTimeout)}
		}
	}
}
