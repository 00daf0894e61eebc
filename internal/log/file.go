package log

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"heki/option"
)

const (
	// dayFile is the name of a daily file as a time layout.
	dayFile = "heki-2006-01-02.log"
	// retryAfter is how long a file that cannot be opened is left alone.
	retryAfter = time.Minute
	// defaultRetention is used when an option that was not validated says 0 days.
	defaultRetention = 7
)

// destination is where lines end up. Its methods are called one at a time. write never fails: what
// cannot be written here is written to standard error, or lost.
type destination interface {
	write(now time.Time, line []byte)
	reopen(now time.Time) error
	close() error
}

func openDestination(o option.Log) (destination, error) {
	switch {
	case o.Disabled:
		return stream{io.Discard}, nil
	case o.Dir != "":
		days := o.RetentionDays
		if days <= 0 {
			days = defaultRetention
		}
		return openFile(&file{dir: o.Dir, keepDays: days, fallback: os.Stderr})
	case o.Output == "stdout":
		return stream{os.Stdout}, nil
	case o.Output != "" && o.Output != "stderr":
		return openFile(&file{path: o.Output, fallback: os.Stderr})
	}
	return stream{os.Stderr}, nil
}

// stream is a destination without a name.
type stream struct{ to io.Writer }

func (s stream) write(_ time.Time, line []byte) { _, _ = s.to.Write(line) } // nowhere to say it
func (stream) reopen(time.Time) error           { return nil }
func (stream) close() error                     { return nil }

// file is one file, or one file each day in dir.
type file struct {
	path     string // the one file; empty when daily
	dir      string
	keepDays int // how many daily files stay, today's included
	fallback io.Writer

	open     *os.File
	from, to time.Time // the local day of the open daily file
	retry    time.Time // not before that is a failed opening tried again
	lost     bool      // the last line did not get into the file
}

func openFile(f *file) (destination, error) {
	if err := f.reopen(time.Now()); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return f, nil
}

// write implements destination. The first line that does not get into the file is followed by the
// reason, and all go to standard error until the file takes lines again.
func (f *file) write(now time.Time, line []byte) {
	if f.dir != "" && (now.Before(f.from) || !now.Before(f.to)) && !now.Before(f.retry) {
		if err := f.reopen(now); err != nil {
			f.retry = now.Add(retryAfter) // until then the old file is better than none
			f.complain(now, err)
		}
	}
	_, err := f.open.Write(line)
	if err == nil {
		f.lost = false
		return
	}
	_, _ = f.fallback.Write(line)
	if !f.lost {
		f.lost = true
		f.complain(now, err)
	}
}

func (f *file) complain(now time.Time, err error) {
	_, _ = fmt.Fprintf(f.fallback, "%s ERROR log: %v\n", now.Format(textTime), err)
}

// reopen opens the file of now and closes the old one; on error the old one stays.
func (f *file) reopen(now time.Time) error {
	path, from, to := f.path, time.Time{}, time.Time{}
	if f.dir != "" {
		path, from, to = f.dayOf(now)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	opened, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	if f.open != nil {
		_ = f.open.Close() // every line was written at once: nothing is left to fail
	}
	f.open, f.from, f.to, f.retry = opened, from, to, time.Time{}
	if f.dir != "" {
		if err := f.removeOld(now); err != nil {
			f.complain(now, err)
		}
	}
	return nil
}

// dayOf names the file of now and says when its day starts and ends.
func (f *file) dayOf(now time.Time) (path string, from, to time.Time) {
	y, m, d := now.Date()
	from = time.Date(y, m, d, 0, 0, 0, 0, now.Location())
	to = time.Date(y, m, d+1, 0, 0, 0, 0, now.Location())
	if !to.After(now) { // the zone skips this midnight and the date above fell before it
		to = now.Add(time.Minute)
	}
	return filepath.Join(f.dir, now.Format(dayFile)), from, to
}

// removeOld removes the daily files that are too old, and nothing that is named otherwise.
func (f *file) removeOld(now time.Time) error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	y, m, d := now.Date()
	oldest := time.Date(y, m, d-f.keepDays+1, 0, 0, 0, 0, time.UTC)
	var errs []error
	for _, e := range entries {
		day, err := time.Parse(dayFile, e.Name())
		if err != nil || !e.Type().IsRegular() || !day.Before(oldest) {
			continue
		}
		errs = append(errs, os.Remove(filepath.Join(f.dir, e.Name())))
	}
	return errors.Join(errs...)
}

func (f *file) close() error { return f.open.Close() }
