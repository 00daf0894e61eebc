package meter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Decision is what a person does about a held batch.
type Decision string

// The panel turned out not to have it, or to have it.
const (
	Resend  Decision = "resend"
	Discard Decision = "discard"
)

// decisionPrefix begins the names of decisions waiting in a journal's directory: decide-<id>, or
// decide-all for all held batches of the node. The content is the Decision.
const (
	decisionPrefix = "decide-"
	allHeld        = "all"
)

// Backlog is what a node's journal on disk holds. It is for commands that look from outside: the process
// that serves the node replaces the file as a whole, so it may be read at any moment.
type Backlog struct {
	Node    string
	Pending []Batch
	Sent    []Batch
	Held    []Batch
}

// ReadBacklogs reads the journals of all nodes below stateDir. One that cannot be read is in the error, the
// others are returned all the same.
func ReadBacklogs(stateDir string) ([]Backlog, error) {
	dirs, err := filepath.Glob(filepath.Join(globEscape(stateDir), "traffic", "*", journalFile))
	if err != nil {
		return nil, err
	}
	var all []Backlog
	var errs []error
	for _, path := range dirs {
		raw, err := readBounded(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // settled meanwhile
		}
		var entries []entry
		if err == nil {
			entries, err = parseRecord(raw)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
			continue
		}
		b := Backlog{}
		for _, e := range entries {
			b.Node = e.Node
			switch e.state {
			case pending:
				b.Pending = append(b.Pending, e.Batch)
			case sent:
				b.Sent = append(b.Sent, e.Batch)
			case held:
				b.Held = append(b.Held, e.Batch)
			}
		}
		if len(entries) > 0 {
			all = append(all, b)
		}
	}
	return all, errors.Join(errs...)
}

// Decide leaves a decision about the held batch id of a node, or about all of them with an id of "". The
// process that serves the node takes it up with its next report, or at its next start.
func Decide(stateDir, node, id string, d Decision) error {
	if id == "" {
		id = allHeld
	} else if err := checkID(id); err != nil {
		return err
	}
	dir := Dir(stateDir, node)
	path := filepath.Join(dir, decisionPrefix+id)
	temp, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.WriteString(string(d) + "\n")
	if err := errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// Decided is one decision that was carried out.
type Decided struct {
	Batch
	Decision Decision
}

// Decisions carries out what Decide left. A decision about a batch that is not held any more is dropped;
// one that cannot be read is in the error and dropped too.
func (o *Outbox) Decisions() ([]Decided, error) {
	paths, err := filepath.Glob(filepath.Join(globEscape(o.journal.dir), decisionPrefix+"*"))
	if err != nil || len(paths) == 0 {
		return nil, err
	}
	var done []Decided
	var errs []error
	for _, path := range paths {
		raw, err := readBounded(path)
		if err == nil {
			err = os.Remove(path) // first: a decision that came back after a crash would be about another batch
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d := Decision(strings.TrimSpace(string(raw)))
		if d != Resend && d != Discard {
			errs = append(errs, fmt.Errorf("%s: holds neither %s nor %s", path, Resend, Discard))
			continue
		}
		id := strings.TrimPrefix(filepath.Base(path), decisionPrefix)
		for _, b := range o.journal.Held() {
			if id != allHeld && b.ID != id {
				continue
			}
			end := o.Discard
			if d == Resend {
				end = o.Release
			}
			if err := end(b.ID); err != nil { // in force all the same, the disk does not know yet
				errs = append(errs, err)
			}
			done = append(done, Decided{b, d})
		}
	}
	return done, errors.Join(errs...)
}

// globEscape makes a directory a literal for filepath.Glob: tags are escaped with %, a state_dir may hold
// anything.
func globEscape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
