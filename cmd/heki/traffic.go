package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"heki/internal/meter"
	"heki/option"
)

func trafficCommand() *cobra.Command {
	var config, dir string
	c := &cobra.Command{
		Use:   "traffic",
		Short: "traffic that no panel has billed yet, and what becomes of the doubtful part",
		Long: `Shows the journals in state_dir: what is pending goes out with the next report; what is held met a timeout or
a 5xx, so that the panel may have billed it or not. Look at the panel, then resend it (the panel does not have
it) or discard it (it has). A running heki takes the decision up with its next report, else at its next start.`,
		Args: cobra.NoArgs,
	}
	state := func() (string, error) {
		if dir != "" {
			return dir, nil
		}
		o, err := option.Load(config)
		if err != nil {
			return "", &exit{exitConfig, err}
		}
		return o.StateDir, nil
	}
	var asJSON bool
	list := &cobra.Command{
		Use: "list", Short: "what is pending and what is held, by node", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := state()
			if err != nil {
				return err
			}
			return listTraffic(c.OutOrStdout(), dir, asJSON)
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "for programs")
	for _, sub := range []*cobra.Command{
		list,
		decideCommand(meter.Resend, "report held batches again: the panel does not have them", state),
		decideCommand(meter.Discard, "forget held batches: the panel has them", state),
	} {
		addConfigFlag(sub, &config)
		sub.Flags().StringVar(&dir, "state-dir", "", "`directory` to look into, instead of the configuration's")
		c.AddCommand(sub)
	}
	return c
}

// decideCommand is resend or discard.
func decideCommand(d meter.Decision, short string, state func() (string, error)) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   string(d) + " NODE [BATCH...]",
		Short: short,
		Long:  "NODE and BATCH are as heki traffic list prints them.",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if all == (len(args) > 1) {
				return &exit{exitUsage, errors.New("name the batches, or write --all")}
			}
			dir, err := state()
			if err != nil {
				return err
			}
			return decide(c.OutOrStdout(), dir, args[0], args[1:], d)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "every held batch of the node")
	return c
}

// decide leaves the decision about ids, or about all held batches when there are none.
func decide(out io.Writer, dir, node string, ids []string, d meter.Decision) error {
	all, err := meter.ReadBacklogs(dir)
	if err != nil {
		return &exit{exitFailure, err}
	}
	have := make(map[string]meter.Batch)
	for _, b := range all {
		for _, held := range b.Held {
			if b.Node == node {
				have[held.ID] = held
			}
		}
	}
	if len(have) == 0 {
		return &exit{exitFailure, fmt.Errorf("node %q holds no batch; see heki traffic list", node)}
	}
	for _, id := range ids {
		if _, ok := have[id]; !ok {
			return &exit{exitFailure, fmt.Errorf("node %q holds no batch %q; see heki traffic list", node, id)}
		}
	}
	if len(ids) == 0 {
		ids = []string{""}
	}
	for _, id := range ids {
		if err := meter.Decide(dir, node, id, d); err != nil {
			return &exit{exitFailure, err}
		}
		fmt.Fprintf(out, "%s: %s %s with the next report, or at the next start\n", node, cmp.Or(id, "every held batch"), decidedAs(d))
	}
	return nil
}

func decidedAs(d meter.Decision) string {
	if d == meter.Resend {
		return "goes out again"
	}
	return "is forgotten"
}

// batchLine is one batch as it is printed.
type batchLine struct {
	Node  string    `json:"node"`
	State string    `json:"state"` // held, sending, pending
	Batch string    `json:"batch"`
	Time  time.Time `json:"time"`
	Users int       `json:"users"`
	Up    int64     `json:"up"` // bytes
	Down  int64     `json:"down"`
}

// listTraffic prints a line for each batch.
func listTraffic(out io.Writer, dir string, asJSON bool) error {
	all, err := meter.ReadBacklogs(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "heki:", err)
	}
	lines := []batchLine{}
	for _, b := range all {
		add := func(state string, batches []meter.Batch) {
			for _, batch := range batches {
				l := batchLine{Node: b.Node, State: state, Batch: batch.ID, Time: batch.Time, Users: len(batch.Users)}
				for _, u := range batch.Users {
					l.Up += u.Up
					l.Down += u.Down
				}
				lines = append(lines, l)
			}
		}
		add("held", b.Held)
		add("sending", b.Sent)
		add("pending", b.Pending)
	}
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return errors.Join(e.Encode(lines), err)
	}
	if len(lines) == 0 && err == nil {
		fmt.Fprintln(out, "nothing: the panels have everything")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tSTATE\tBATCH\tSINCE\tUSERS\tUP\tDOWN")
	for _, l := range lines {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\n", l.Node, l.State, l.Batch, l.Time.Format(time.DateTime), l.Users, l.Up, l.Down)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err != nil {
		return &exit{exitFailure, errors.New("some journals could not be read")}
	}
	return nil
}
