package geo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Bounds of what is read. A domain has 253 bytes, an expression some hundred.
const (
	maxCode = 256
	maxItem = 64 << 10
	bufSize = 64 << 10
)

// dat is a file of lists: repeated entries, each with a code and items. Where the lists are is learned
// in one pass; of the lists only those that are asked for are read.
type dat struct {
	path  string
	at    stamp // of the file that index is about
	index map[string]span
}

// span is where a list is in the file.
type span struct{ from, size int64 }

func (d *dat) name() string { return d.path }

// items calls each with the items of the list called code, which is in lower case. Items are good
// until each returns. The error is errNoList when there is none; known are then the lists that are.
func (d *dat) items(code string, each func(item []byte) error) (known []string, err error) {
	file, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("has %d bytes, must have at most %d", info.Size(), maxFile)
	}
	if at := (stamp{d.path, info}); d.index == nil || !d.at.same(at) {
		index, err := readIndex(file, info.Size())
		if err != nil {
			return nil, err
		}
		d.at, d.index = at, index
	}
	where, ok := d.index[code]
	if !ok {
		for code := range d.index {
			known = append(known, code)
		}
		return known, errNoList
	}
	return nil, readItems(io.NewSectionReader(file, where.from, where.size), where.size, each)
}

// readIndex finds the lists in a file of size bytes. Of two with one code the first counts, as in Xray.
func readIndex(r io.Reader, size int64) (map[string]span, error) {
	w := newWire(r, size)
	index := make(map[string]span)
	for w.at < w.end {
		field, kind, err := w.tag()
		if err != nil {
			return nil, err
		}
		if field != fieldEntry || kind != protowire.BytesType {
			return nil, fmt.Errorf("%w: not a list of lists", ErrDamaged)
		}
		n, err := w.length()
		if err != nil {
			return nil, err
		}
		at := span{w.at, n}
		code, err := w.code(w.at + n)
		if err != nil {
			return nil, err
		}
		if _, twice := index[code]; !twice && code != "" {
			index[code] = at
		}
	}
	if len(index) == 0 {
		return nil, fmt.Errorf("%w: it holds no list", ErrDamaged)
	}
	return index, nil
}

// readItems calls each with the items of an entry of size bytes.
func readItems(r io.Reader, size int64, each func(item []byte) error) error {
	w := newWire(r, size)
	var buf []byte
	for w.at < w.end {
		field, kind, err := w.tag()
		if err != nil {
			return err
		}
		if field != fieldItem || kind != protowire.BytesType {
			if err := w.skip(kind); err != nil {
				return err
			}
			continue
		}
		if buf, err = w.bytes(buf[:0], maxItem); err != nil {
			return err
		}
		if err := each(buf); err != nil {
			return err
		}
	}
	return nil
}

// wire reads protobuf from a stream that ends at end.
type wire struct {
	r       *bufio.Reader
	at, end int64
}

func newWire(r io.Reader, end int64) *wire {
	return &wire{r: bufio.NewReaderSize(r, bufSize), end: end}
}

// code reads the code of the entry that ends at end, in lower case, and what is left of the entry.
func (w *wire) code(end int64) (string, error) {
	outer := w.end
	w.end = end
	defer func() { w.end = outer }()
	for w.at < w.end {
		field, kind, err := w.tag()
		if err != nil {
			return "", err
		}
		if field != fieldCode || kind != protowire.BytesType {
			if err := w.skip(kind); err != nil {
				return "", err
			}
			continue
		}
		code, err := w.bytes(nil, maxCode)
		if err != nil {
			return "", err
		}
		return strings.ToLower(string(code)), w.discard(w.end - w.at)
	}
	return "", nil
}

// tag reads a field's number and type.
func (w *wire) tag() (protowire.Number, protowire.Type, error) {
	v, err := w.varint()
	if err != nil {
		return 0, 0, err
	}
	field, kind := protowire.DecodeTag(v)
	if field < protowire.MinValidNumber {
		return 0, 0, fmt.Errorf("%w: field number %d", ErrDamaged, field)
	}
	return field, kind, nil
}

func (w *wire) varint() (uint64, error) {
	b, err := w.r.Peek(int(min(10, w.end-w.at))) // 10: the longest varint
	if err != nil {
		return 0, cut(err)
	}
	v, n := protowire.ConsumeVarint(b)
	if n < 0 {
		return 0, fmt.Errorf("%w: %w", ErrDamaged, protowire.ParseError(n))
	}
	return v, w.discard(int64(n))
}

// length reads the length of what follows, which ends where w ends at the latest.
func (w *wire) length() (int64, error) {
	n, err := w.varint()
	if err != nil {
		return 0, err
	}
	if left := w.end - w.at; n > uint64(left) {
		return 0, fmt.Errorf("%w: %d bytes are announced where %d are left", ErrDamaged, n, left)
	}
	return int64(n), nil
}

// bytes appends a field of at most most bytes to b.
func (w *wire) bytes(b []byte, most int64) ([]byte, error) {
	n, err := w.length()
	if err != nil {
		return nil, err
	}
	if n > most {
		return nil, fmt.Errorf("%w: a field of %d bytes, must be at most %d", ErrDamaged, n, most)
	}
	b = append(b, make([]byte, n)...)
	if _, err := io.ReadFull(w.r, b[len(b)-int(n):]); err != nil {
		return nil, cut(err)
	}
	w.at += n
	return b, nil
}

// skip passes over the value of a field.
func (w *wire) skip(kind protowire.Type) error {
	switch kind {
	case protowire.VarintType:
		_, err := w.varint()
		return err
	case protowire.BytesType:
		n, err := w.length()
		if err != nil {
			return err
		}
		return w.discard(n)
	case protowire.Fixed32Type:
		return w.discard(4)
	case protowire.Fixed64Type:
		return w.discard(8)
	}
	return fmt.Errorf("%w: wire type %d", ErrDamaged, kind)
}

func (w *wire) discard(n int64) error {
	if n > w.end-w.at {
		return cut(io.ErrUnexpectedEOF)
	}
	done, err := w.r.Discard(int(n))
	w.at += int64(done)
	return cut(err)
}

// cut calls the end of a file in the middle of something by its name.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrDamaged)
	}
	return err
}
