package admin

import (
	"runtime/metrics"
	"strconv"
	"strings"

	"heki/constant"
)

// family is one metric in Prometheus' text format 0.0.4.
type family struct {
	name, kind, help string
	of               func(n *nodeReport) float64
}

// nodeFamilies are those of a node, or of an inbound of the file, which has no panel.
func nodeFamilies() []family {
	truth := func(yes bool) float64 {
		if yes {
			return 1
		}
		return 0
	}
	return []family{
		{"heki_node_up", "gauge", "Whether the node is served.", func(n *nodeReport) float64 { return truth(n.Serving) }},
		{"heki_node_from_snapshot", "gauge", "Whether the panel has not answered since the start.", func(n *nodeReport) float64 { return truth(n.FromSnapshot) }},
		{"heki_node_synced_timestamp_seconds", "gauge", "When the panel was last asked with success.", func(n *nodeReport) float64 {
			if n.Synced == nil {
				return 0
			}
			return float64(n.Synced.UnixMilli()) / 1000
		}},
		{"heki_node_users", "gauge", "Users who may connect.", func(n *nodeReport) float64 { return float64(n.Users) }},
		{"heki_node_online_users", "gauge", "Users with an open connection.", func(n *nodeReport) float64 { return float64(n.Online) }},
		{"heki_node_connections", "gauge", "Open connections.", func(n *nodeReport) float64 { return float64(n.Conns) }},
		{"heki_node_connections_total", "counter", "Connections since the start.", func(n *nodeReport) float64 { return float64(n.Opened) }},
		{"heki_node_up_bytes_total", "counter", "Bytes of users towards their destinations.", func(n *nodeReport) float64 { return float64(n.Up) }},
		{"heki_node_down_bytes_total", "counter", "Bytes towards users.", func(n *nodeReport) float64 { return float64(n.Down) }},
		{"heki_node_reports_total", "counter", "Reports that the panel accepted.", func(n *nodeReport) float64 { return float64(n.Reports) }},
		{"heki_node_reported_bytes_total", "counter", "Bytes in reports that the panel accepted.", func(n *nodeReport) float64 { return float64(n.ReportedUp + n.ReportedDown) }},
		{"heki_node_backlog_bytes", "gauge", "Bytes in the journal that the panel has not accepted yet.", func(n *nodeReport) float64 { return float64(n.BacklogBytes) }},
		{"heki_node_held_batches", "gauge", "Reports whose fate is unknown: heki traffic decides.", func(n *nodeReport) float64 { return float64(n.HeldBatches) }},
		{"heki_node_held_bytes", "gauge", "Bytes in them.", func(n *nodeReport) float64 { return float64(n.HeldBytes) }},
	}
}

// processFamilies are those of the process, from the Go runtime.
func processFamilies() []struct{ name, help, source string } {
	return []struct{ name, help, source string }{
		{"heki_goroutines", "Goroutines.", "/sched/goroutines:goroutines"},
		{"heki_memory_bytes", "Memory that the Go runtime has from the system.", "/memory/classes/total:bytes"},
	}
}

// appendMetrics writes all figures.
func appendMetrics(b []byte, st State) []byte {
	r := report(st)
	nodes := r.Nodes
	for _, in := range r.Inbounds {
		nodes = append(nodes, nodeReport{Tag: in.Tag, Serving: true, figures: in.figures})
	}
	b = appendHead(b, "heki_info", "gauge", "The version.")
	b = append(b, `heki_info{version="`+escape(constant.Version)+"\"} 1\n"...)
	b = appendHead(b, "heki_start_time_seconds", "gauge", "When heki was started.")
	b = appendValue(append(b, "heki_start_time_seconds"...), float64(r.Started.Unix()))
	b = appendHead(b, "heki_clock_offset_seconds", "gauge", "How far the panels' clock is ahead of this machine's.")
	b = appendValue(append(b, "heki_clock_offset_seconds"...), r.ClockOffset)
	for _, f := range processFamilies() {
		sample := []metrics.Sample{{Name: f.source}}
		metrics.Read(sample)
		b = appendHead(b, f.name, "gauge", f.help)
		b = appendValue(append(b, f.name...), float64(sample[0].Value.Uint64()))
	}
	for _, f := range nodeFamilies() {
		b = appendHead(b, f.name, f.kind, f.help)
		for i := range nodes {
			n := &nodes[i]
			b = append(b, f.name+`{node="`+escape(n.Tag)+`",panel="`+escape(n.Panel)+`",protocol="`+escape(n.Protocol)+`"}`...)
			b = appendValue(b, f.of(n))
		}
	}
	return b
}

func appendHead(b []byte, name, kind, help string) []byte {
	return append(b, "# HELP "+name+" "+help+"\n# TYPE "+name+" "+kind+"\n"...)
}

func appendValue(b []byte, v float64) []byte {
	return append(strconv.AppendFloat(append(b, ' '), v, 'f', -1, 64), '\n')
}

// escape writes a label's value.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
}
