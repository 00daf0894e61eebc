package proxyproto

import (
	"errors"
	"fmt"
	"strings"
)

// ParseDatagram decodes a version 2 header at the start of a datagram and returns its length in bytes;
// the payload follows. It keeps no reference to b. ErrMissing says that there is none, any other error
// wraps ErrBadHeader: a header is never spread over datagrams. Version 1 is for streams only.
//
// The family may be a stream's: some load balancers say so of datagrams.
//
// Source: The PROXY protocol, section 2.2.
func ParseDatagram(b []byte) (Header, int, error) {
	if !strings.HasPrefix(string(b[:min(len(b), len(signature))]), signature) {
		return Header{}, 0, ErrMissing
	}
	h, n, err := parseBinary(b)
	if errors.Is(err, ErrShort) {
		return Header{}, 0, fmt.Errorf("%w: %w", ErrBadHeader, err)
	}
	return h, n, err
}
