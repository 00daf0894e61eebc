package h2

import (
	"time"

	"heki/constant"
)

// What one connection may cost.
const (
	// maxStreams is how many handlers run at once, those of reset streams included: all connections
	// of a user's client share one. RFC 9113 §10.5, CVE-2023-44487, CVE-2025-8671.
	maxStreams = 1024
	// maxBlock bounds a header block as sent, over all its CONTINUATION frames: CVE-2024-27316.
	maxBlock = 32 << 10
	// maxBlockFrames bounds the frames of one: what is sent in more is sent to annoy.
	maxBlockFrames = 16
	// maxList bounds a header block decoded; http1 has the same. More is answered with a page.
	maxList = 16 << 10
	// maxControl bounds the answers (SETTINGS, PING, RST_STREAM) that wait for a peer that does not
	// read: CVE-2019-9512, -9514, -9515.
	maxControl  = 64 << 10
	keepControl = 1 << 10 // of their memory is kept
	// maxSettings bounds the settings in one frame; there are 10 or so.
	maxSettings = 64
	// maxPages is how many requests for pages a connection answers; nginx has 1000.
	maxPages = 1000

	// tableSize is of HPACK's dynamic table, the default.
	tableSize = 4 << 10

	serverWindow = 64 << 10  // of a new stream, as nginx; grows while its data is used as it comes
	clientWindow = 256 << 10 // the same for a dialer
	streamWindow = 4 << 20   // where growth ends
	// growth is what the windows of one connection may grow by together: what a peer can make us keep
	// when nobody reads.
	growth = 16 << 20

	// connWindow is refilled in steps of refill: the windows of streams are the bound that matters,
	// and a stream that nobody reads must not stop the others.
	connWindow = windowMax
	refill     = 1 << 30
)

// fuss bounds frames that carry nothing: what a peer may send is base, more in proportion to the data
// that moves, to the time, and for each stream that proves to be a user's.
const (
	fussBase      = 8 << 10
	fussBytes     = 256 // of data, for one more
	fussPerSecond = 20
	fussPerStream = 32

	fussFrame   = 1
	fussRequest = 4
)

const (
	// handshakeTime is what a stream has to become a user's, and the first one of a connection.
	handshakeTime = constant.HandshakeTimeout
	// DefaultIdle is how long a connection without streams stays open. Clients pool connections:
	// less would make them reconnect all the time.
	DefaultIdle = 5 * time.Minute
	minIdle     = time.Minute
	clientIdle  = 4 * time.Minute // of a dialer: less than a server's
	// stallTime is what a peer that takes nothing has left once a stream is closed in the middle of a
	// write. The other streams end with it, and a phone may be without a network for a while: nginx's
	// send_timeout.
	stallTime = time.Minute
	// goAwayTime bounds the last write.
	goAwayTime = 250 * time.Millisecond
)
