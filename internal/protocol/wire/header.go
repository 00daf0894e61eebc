package wire

import "errors"

// PeekHeader waits for what parse is content with and returns its length in bytes, nothing consumed.
// While the bytes are only a prefix of a header, parse returns an error that wraps ErrShort.
func PeekHeader[T any](conn Source, parse func([]byte) (T, int, error)) (T, int, error) {
	var zero T
	for have := 0; ; {
		b, err := PeekFrame(conn, have, have+1)
		if err != nil {
			return zero, 0, err
		}
		have = len(b)
		v, n, err := parse(b)
		if err == nil {
			return v, n, nil
		}
		if !errors.Is(err, ErrShort) {
			return zero, 0, err
		}
	}
}

// ReadHeader is PeekHeader and consumes the header.
func ReadHeader[T any](conn Source, parse func([]byte) (T, int, error)) (T, error) {
	v, n, err := PeekHeader(conn, parse)
	if err == nil {
		_, err = conn.Discard(n)
	}
	return v, err
}
