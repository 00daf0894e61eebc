package ssr

import (
	"crypto/md5"
	"encoding/hex"
	"strconv"
	"strings"

	"heki/internal/protocol/ssr/obfs"
)

// Defaults of the panels for hosts of users.
const (
	DefaultHostPattern = "%5m%id.%suffix"
	DefaultHostSuffix  = "microsoft.com"
)

// HostOwner is the user whose host is asked: all of it is the user's own, not the port's.
type HostOwner struct {
	ID                               int64
	Password, Method, Obfs, Protocol string
}

// UserHost is the host by which a user is known on a port that tells users apart by host (ssr.md §10).
// In pattern, %id is the user's number, %suffix is suffix, %5m the first 5 and %-5m the last 5 digits of
// a hash of the user's columns. It is in the form of obfs.HostOf.
func UserHost(pattern, suffix string, u HostOwner) string {
	id := strconv.FormatInt(u.ID, 10)
	sum := md5.Sum([]byte(id + u.Password + u.Method + u.Obfs + u.Protocol))
	text := strings.NewReplacer("%id", id, "%suffix", suffix).Replace(pattern)
	return obfs.HostOf(expand(text, hex.EncodeToString(sum[:])))
}

// expand replaces %Nm and %-Nm by digits.
func expand(text, digits string) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "%")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		number, after, ok := strings.Cut(rest, "m")
		n, err := strconv.Atoi(number)
		switch {
		case !ok || err != nil || n == 0 || number[0] == '+':
			out.WriteByte('%') // not ours
			text = rest
			continue
		case n > 0:
			out.WriteString(digits[:min(n, len(digits))])
		default:
			out.WriteString(digits[max(len(digits)+n, 0):])
		}
		text = after
	}
}
