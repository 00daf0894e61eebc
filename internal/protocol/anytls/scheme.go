package anytls

import (
	"crypto/md5" // the protocol's name for a scheme; nothing is secured by it
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// DefaultPadding is the scheme of every client that was not told another.
const DefaultPadding = `stop=8
0=30-30
1=100-400
2=400-500,c,500-1000,c,500-1000,c,500-1000,c,500-1000
3=9-9,500-1000
4=500-1000
5=500-1000
6=500-1000
7=500-1000`

// Bounds of a scheme.
const (
	maxScheme = 8 << 10 // bytes; the default has 127
	maxStop   = 1 << 10 // packets
	maxRecord = 16 << 10
)

// Scheme is a padding scheme: how large a client makes the first records of a session.
type Scheme struct {
	text string
	md5  string
}

// ParseScheme checks a scheme, one line a rule:
//
//	stop=8                      packets from this number on are not padded
//	0=30-30                     padding of packet 0, the authentication
//	2=400-500,c,500-1000        sizes of the records of packet 2; c: stop here when no payload is left
func ParseScheme(text string) (*Scheme, error) {
	if len(text) > maxScheme {
		return nil, fmt.Errorf("is %d bytes long, must be at most %d", len(text), maxScheme)
	}
	stop := -1
	seen := make(map[string]bool)
	for line := range strings.SplitSeq(text, "\n") {
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("has the line %.40q, must be key=value", line)
		}
		if seen[key] {
			return nil, fmt.Errorf("has %.20q twice", key)
		}
		seen[key] = true
		if key == "stop" {
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > maxStop {
				return nil, fmt.Errorf("has stop=%.20s, must be 1 to %d", value, maxStop)
			}
			stop = n
			continue
		}
		if n, err := strconv.Atoi(key); err != nil || n < 0 || n >= maxStop {
			return nil, fmt.Errorf("has the key %.20q, must be stop or the number of a packet", key)
		}
		if err := checkSizes(value); err != nil {
			return nil, fmt.Errorf("has the line %.40q: %w", line, err)
		}
	}
	if stop < 0 {
		return nil, errors.New("has no stop")
	}
	sum := md5.Sum([]byte(text))
	return &Scheme{text, hex.EncodeToString(sum[:])}, nil
}

// checkSizes checks the record sizes of one packet.
func checkSizes(value string) error {
	for size := range strings.SplitSeq(value, ",") {
		if size == "c" {
			continue
		}
		low, high, ok := strings.Cut(size, "-")
		a, err1 := strconv.Atoi(low)
		b, err2 := strconv.Atoi(high)
		if !ok || err1 != nil || err2 != nil || a < 1 || b < a || b > maxRecord {
			return fmt.Errorf("%.20q must be c, or FROM-TO within 1 to %d", size, maxRecord)
		}
	}
	return nil
}

// DefaultScheme returns the scheme of DefaultPadding.
func DefaultScheme() *Scheme {
	sum := md5.Sum([]byte(DefaultPadding))
	return &Scheme{DefaultPadding, hex.EncodeToString(sum[:])}
}

// Text returns the scheme as clients get it.
func (s *Scheme) Text() string { return s.text }

// MD5 returns the name of the scheme, in lower hex.
func (s *Scheme) MD5() string { return s.md5 }
