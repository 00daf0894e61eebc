package admin

import (
	"time"

	"heki/constant"
	"heki/internal/meter"
	"heki/panel"
)

// The words of /status. Bytes and connections count from the start of the process.
type statusReport struct {
	Version     string          `json:"version"`
	Started     time.Time       `json:"started"`
	ClockOffset float64         `json:"clock_offset_seconds"` // of the panels' clock, ahead of ours
	Nodes       []nodeReport    `json:"nodes"`
	Inbounds    []inboundReport `json:"inbounds"`
}

type figures struct {
	Users  int   `json:"users"`
	Online int   `json:"online_users"`
	Conns  int   `json:"connections"`
	Opened int64 `json:"connections_opened"`
	Up     int64 `json:"up_bytes"`
	Down   int64 `json:"down_bytes"`
}

type nodeReport struct {
	Tag          string     `json:"tag"`
	Panel        string     `json:"panel"`
	ID           int64      `json:"id"`
	Serving      bool       `json:"serving"`
	Protocol     string     `json:"protocol,omitempty"`
	Port         uint16     `json:"port,omitempty"`
	FromSnapshot bool       `json:"from_snapshot"` // the panel has not answered since the start
	Synced       *time.Time `json:"synced,omitempty"`
	Error        string     `json:"error,omitempty"` // of the last sync
	figures
	Reports      int   `json:"reports"` // accepted by the panel
	ReportedUp   int64 `json:"reported_up_bytes"`
	ReportedDown int64 `json:"reported_down_bytes"`
	BacklogUsers int   `json:"backlog_users"` // journalled and not accepted yet
	BacklogBytes int64 `json:"backlog_bytes"`
	HeldBatches  int   `json:"held_batches"` // the panel may have them: heki traffic decides
	HeldBytes    int64 `json:"held_bytes"`
}

type inboundReport struct {
	Tag string `json:"tag"`
	figures
}

func figuresOf(s meter.Stats) figures {
	return figures{s.Users, s.Online, s.Conns, s.Opened, s.Up, s.Down}
}

func report(st State) statusReport {
	r := statusReport{
		Version: constant.Version, Started: st.Started, ClockOffset: st.Offset.Seconds(),
		Nodes: make([]nodeReport, 0, len(st.Nodes)), Inbounds: make([]inboundReport, 0, len(st.Inbounds)),
	}
	for i := range st.Nodes {
		r.Nodes = append(r.Nodes, nodeOf(&st.Nodes[i]))
	}
	for _, in := range st.Inbounds {
		r.Inbounds = append(r.Inbounds, inboundReport{in.Tag, figuresOf(in.Stats)})
	}
	return r
}

func nodeOf(n *panel.Status) nodeReport {
	r := nodeReport{
		Tag: n.Tag, Panel: n.Panel, ID: n.ID, Serving: n.Serving, Protocol: n.Protocol, Port: n.Port,
		FromSnapshot: n.FromSnapshot, Error: n.Err, figures: figuresOf(n.Stats),
		Reports: n.Reports, ReportedUp: n.ReportedUp, ReportedDown: n.ReportedDown,
		BacklogUsers: n.BacklogUsers, BacklogBytes: n.BacklogBytes, HeldBatches: n.HeldBatches, HeldBytes: n.HeldBytes,
	}
	if !n.Synced.IsZero() {
		r.Synced = &n.Synced
	}
	return r
}
