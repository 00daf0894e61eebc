package meter

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The journal's file is text, so that an operator can read with cat what is owed:
//
//	heki traffic 1
//	batch pending 1763837083123-a1b2c3d4e5f6 1763837083123456789 "node-3"
//	7 1048576 7340032 "alice"
//	batch held 1763836963001-0a1b2c3d4e5f 1763836963001000000 "node-3"
//	9 10 20 "bob"
//	sum 1c291ca3
//
// A batch line has state, id, time in Unix nanoseconds and node tag; the lines below it have user id,
// bytes up, bytes down and name. The sum is CRC-32C over all bytes before its line. Exactly one
// spelling is valid: what parses encodes to the same bytes.
const (
	recordHead  = "heki traffic 1\n"
	recordBatch = "batch "
	recordSum   = "sum "
)

// maxIDLength bounds a batch id in the file.
const maxIDLength = 64

// ErrCorrupt says that a journal file is not what a journal wrote.
var ErrCorrupt = errors.New("corrupt traffic journal")

// state is where a journalled batch is on its way to the panel.
type state string

const (
	pending state = "pending" // to be sent
	sent    state = "sent"    // being sent: the panel may or may not have it
	held    state = "held"    // the panel may have it; a person decides
)

// entry is one batch in the file.
type entry struct {
	state state
	Batch
}

// appendRecord encodes entries as a whole file behind b.
func appendRecord(b []byte, entries []entry) []byte {
	start := len(b)
	b = append(b, recordHead...)
	for _, e := range entries {
		b = append(b, recordBatch...)
		b = append(b, e.state...)
		b = append(b, ' ')
		b = append(b, e.ID...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, e.Time.UnixNano(), 10)
		b = append(b, ' ')
		b = strconv.AppendQuote(b, e.Node)
		b = append(b, '\n')
		for _, u := range e.Users {
			b = strconv.AppendInt(b, u.ID, 10)
			b = append(b, ' ')
			b = strconv.AppendInt(b, u.Up, 10)
			b = append(b, ' ')
			b = strconv.AppendInt(b, u.Down, 10)
			b = append(b, ' ')
			b = strconv.AppendQuote(b, u.Name)
			b = append(b, '\n')
		}
	}
	sum := checksum(b[start:])
	b = append(b, recordSum...)
	return fmt.Appendf(b, "%08x\n", sum)
}

func checksum(b []byte) uint32 {
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
}

// parseRecord decodes a whole file. Every error wraps ErrCorrupt and names the line. It keeps no
// reference to b.
func parseRecord(b []byte) ([]entry, error) {
	body, ok := strings.CutPrefix(string(b), recordHead)
	if !ok {
		return nil, fmt.Errorf("line 1: not %q: %w", strings.TrimSpace(recordHead), ErrCorrupt)
	}
	var entries []entry
	for line := 2; ; line++ {
		text, rest, ok := strings.Cut(body, "\n")
		if !ok {
			return nil, fmt.Errorf("line %d: cut short: %w", line, ErrCorrupt)
		}
		body = rest
		if strings.HasPrefix(text, recordSum) {
			break
		}
		if err := parseLine(&entries, text); err != nil {
			return nil, fmt.Errorf("line %d: %w: %w", line, err, ErrCorrupt)
		}
	}
	// Encoding again checks the sum, what follows it, and the spelling of everything at once.
	if !bytes.Equal(appendRecord(make([]byte, 0, len(b)), entries), b) {
		return nil, fmt.Errorf("checksum or spelling does not match: %w", ErrCorrupt)
	}
	return entries, nil
}

// parseLine decodes a batch line into a new entry, or a user line into the last one.
func parseLine(entries *[]entry, text string) error {
	if fields, ok := strings.CutPrefix(text, recordBatch); ok {
		e, err := parseBatch(fields)
		if err == nil {
			*entries = append(*entries, e)
		}
		return err
	}
	if len(*entries) == 0 {
		return errors.New("a user before the first batch")
	}
	u, err := parseUser(text)
	if err != nil {
		return err
	}
	last := &(*entries)[len(*entries)-1]
	last.Users = append(last.Users, u)
	return nil
}

func parseBatch(fields string) (entry, error) {
	part := strings.SplitN(fields, " ", 4)
	if len(part) != 4 {
		return entry{}, errors.New("a batch needs state, id, time and node")
	}
	e := entry{state: state(part[0])}
	if !slices.Contains([]state{pending, sent, held}, e.state) {
		return entry{}, fmt.Errorf("unknown state %q", e.state)
	}
	if err := checkID(part[1]); err != nil {
		return entry{}, err
	}
	nanos, err := strconv.ParseInt(part[2], 10, 64)
	if err != nil {
		return entry{}, err
	}
	node, err := strconv.Unquote(part[3])
	if err != nil {
		return entry{}, fmt.Errorf("node %s: %w", part[3], err)
	}
	e.Batch = Batch{ID: part[1], Time: time.Unix(0, nanos), Node: node}
	return e, nil
}

func parseUser(text string) (Traffic, error) {
	part := strings.SplitN(text, " ", 4)
	if len(part) != 4 {
		return Traffic{}, errors.New("a user needs id, up, down and name")
	}
	var number [3]int64
	for i := range number {
		n, err := strconv.ParseInt(part[i], 10, 64)
		if err != nil {
			return Traffic{}, err
		}
		number[i] = n
	}
	if number[1] < 0 || number[2] < 0 {
		return Traffic{}, errors.New("negative bytes")
	}
	name, err := strconv.Unquote(part[3])
	if err != nil {
		return Traffic{}, fmt.Errorf("name %s: %w", part[3], err)
	}
	return Traffic{ID: number[0], Up: number[1], Down: number[2], Name: name}, nil
}

// checkID accepts 1 to 64 letters, digits, '-' and '_'.
func checkID(id string) error {
	if id == "" || len(id) > maxIDLength {
		return fmt.Errorf("batch id %q is %d bytes long, must be 1 to %d", id, len(id), maxIDLength)
	}
	for _, c := range []byte(id) {
		if !isPlain(c) {
			return fmt.Errorf("batch id %q: only letters, digits, - and _ are allowed", id)
		}
	}
	return nil
}

// isPlain tells whether c means itself in ids and file names.
func isPlain(c byte) bool {
	return c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
