package panel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	jsoniter "github.com/json-iterator/go"

	"heki/constant"
	"heki/internal/meter"
	"heki/option"
)

// nodes are the machine's as entries of a configuration: those that the operator wrote settings for have
// them.
func (e *fleetEntry) nodes(list []MachineNode) []option.PanelNode {
	own := make(map[int64]option.PanelNode, len(e.panel.Nodes))
	for _, n := range e.panel.Nodes {
		own[n.ID] = n
	}
	nodes := make([]option.PanelNode, len(list))
	for i, l := range list {
		nodes[i] = option.PanelNode{ID: l.ID}
		if n, ok := own[l.ID]; ok {
			nodes[i] = n
		}
	}
	return nodes
}

// same tells whether e needs no restart to become other.
func (e *fleetEntry) same(other *fleetEntry) bool {
	return reflect.DeepEqual(e.panel, other.panel) && reflect.DeepEqual(e.top, other.top)
}

// ours tells whether the machine is that of other, which may have other settings and another key.
func (e *fleetEntry) ours(other *fleetEntry) bool {
	return e.panel.MachineID == other.panel.MachineID && e.panel.URL == other.panel.URL
}

// fleetEnv is what e's client gets.
func (s *Service) fleetEnv(e *fleetEntry) Env {
	env := s.env(&entry{tag: "machine/" + e.panel.Name, panel: e.panel})
	env.Say = func(level slog.Level, format string, args ...any) {
		s.log(level, fmt.Sprintf("panel %q machine %d: ", e.panel.Name, e.panel.MachineID), format, args...)
	}
	return env
}

// listed is what is known of the nodes of e's machine.
func (s *Service) listed(e *fleetEntry) []MachineNode {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.fleets[e.panel.Name]; f != nil && f.entry().ours(e) {
		return f.list
	}
	return nil
}

// muster makes entries the machines that there are. It must be the caller's turn.
func (s *Service) muster(entries []*fleetEntry) error {
	next := make(map[string]*fleet, len(entries))
	for _, e := range entries {
		f := s.fleets[e.panel.Name]
		switch {
		case f == nil || !f.entry().ours(e):
			f = newFleet(s, e)
		case !f.entry().same(e):
			f.life.stop()
			f.conf.Store(e)
			f.nextPull, f.nextStatus, f.fails = time.Time{}, time.Time{}, 0
		}
		next[e.panel.Name] = f
	}
	s.mu.Lock()
	former := s.fleets
	s.fleets = next
	s.mu.Unlock()
	var errs []error
	for name, f := range former {
		if next[name] == f {
			continue
		}
		f.life.stop()
		if next[name] == nil {
			errs = append(errs, f.file.remove())
		}
	}
	return errors.Join(errs...)
}

func (s *Service) listFleets() []*fleet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.fleets))
}

// actor is the one with the tag, or nil.
func (s *Service) actor(tag string) *actor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.actors[tag]
}

// start runs f unless it runs.
func (f *fleet) start() { f.life.start(f.svc.hard, f.run) }

// settle makes f's wanted list that in force: nodes that are gone report what is left and are closed, new
// ones start, the others do not notice. It gives up when ctx ends before its turn.
func (s *Service) settle(ctx context.Context, f *fleet) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	e := f.entry()
	f.differences()
	entries, err := s.entries(&e.panel, e.nodes(f.wanted), &e.top)
	keep := make(map[string]bool, len(f.wanted))
	for _, n := range f.wanted {
		keep[Tag(e.panel.Name, n.ID)] = true
	}
	err = errors.Join(err, s.drop(func(a *actor) bool {
		return a.entry().panel.Name != e.panel.Name || keep[a.tag]
	}))
	f.list = f.wanted
	err = errors.Join(err, s.open(entries))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startLocked()
	return err
}

// differences tells what comes and goes, and which settings are for nobody.
func (f *fleet) differences() {
	was := make(map[int64]MachineNode, len(f.list))
	for _, n := range f.list {
		was[n.ID] = n
	}
	for _, n := range f.wanted {
		if _, had := was[n.ID]; !had {
			f.say(slog.LevelInfo, "node %d %.64q is here", n.ID, n.Name)
		}
		delete(was, n.ID)
	}
	for id, n := range was {
		f.say(slog.LevelWarn, "node %d %.64q is gone; its users are cut", id, n.Name)
	}
	var missing []string
	for _, n := range f.entry().panel.Nodes {
		if !slices.ContainsFunc(f.wanted, func(l MachineNode) bool { return l.ID == n.ID }) {
			missing = append(missing, fmt.Sprint(n.ID))
		}
	}
	if text := strings.Join(missing, ", "); text != f.missing {
		f.missing = text
		if text != "" {
			f.say(slog.LevelWarn, "the configuration has settings of nodes that the panel does not give to this machine: %s", text)
		}
	}
}

// oneLine is err's text for the log.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// fleetFile is the last good list of a machine's nodes on disk.
type fleetFile struct{ path string }

// newFleetFile names the file next to the nodes' snapshots. No node has such a tag.
func newFleetFile(stateDir, panel string) fleetFile {
	name := filepath.Base(meter.Dir(stateDir, "machine/"+panel)) + ".json"
	return fleetFile{filepath.Join(stateDir, "panels", name)}
}

// fleetRecord is the file's content.
type fleetRecord struct {
	Version   int           `json:"version"`
	Saved     time.Time     `json:"saved"`
	MachineID int64         `json:"machine_id"`
	Nodes     []MachineNode `json:"nodes"`
}

func (f fleetFile) exists() bool {
	_, err := os.Stat(f.path)
	return err == nil
}

// load reads the list of that machine; without one, or with that of another, there are no nodes. A file that
// cannot be used is in the error, and is replaced when the panel answers.
func (f fleetFile) load(machine int64) ([]MachineNode, time.Time, error) {
	h, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	defer h.Close()
	raw, err := readAtMost(h, constant.MaxStateFile)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: %w", f.path, err)
	}
	var r fleetRecord
	if err := jsoniter.ConfigCompatibleWithStandardLibrary.Unmarshal(raw, &r); err != nil || r.Version != fileVersion {
		return nil, time.Time{}, fmt.Errorf("%s is no list of nodes of this version", f.path)
	}
	if r.MachineID != machine {
		return nil, time.Time{}, nil
	}
	seen := make(map[int64]bool, len(r.Nodes))
	list := make([]MachineNode, 0, len(r.Nodes))
	for _, n := range r.Nodes {
		if n.ID > 0 && !seen[n.ID] && len(list) < MaxNodes {
			seen[n.ID] = true
			list = append(list, n)
		}
	}
	return list, r.Saved, nil
}

// save replaces the list.
func (f fleetFile) save(machine int64, list []MachineNode, now time.Time) error {
	raw, err := jsoniter.ConfigCompatibleWithStandardLibrary.Marshal(fleetRecord{fileVersion, now, machine, list})
	if err == nil {
		err = WriteAtomic(f.path, raw)
	}
	if err != nil {
		return fmt.Errorf("save the list of nodes: %w", err)
	}
	return nil
}

func (f fleetFile) remove() error {
	if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
