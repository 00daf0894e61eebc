package transport

import (
	"context"
	"time"

	"heki/internal/netio"
	"heki/transport/internal/h2"
	"heki/transport/internal/http1"
)

// Decoy answers on conn, whose unread bytes are not a user's, as a web server without content: 404
// for proper requests, in HTTP/2 too, 400 for anything else. A client that says too little is closed without a word
// at conn's deadline, which has to be set. Decoy owns conn and returns once it is closed, at the
// latest a moment after the deadline or after ctx is done. The error says what was answered.
func Decoy(ctx context.Context, conn *netio.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if h2.Sniff(conn) {
		pages := h2.Server{Match: func(m *h2.Message) int { return http1.NotFoundFor(m.Method) }}
		return pages.Serve(ctx, conn, nil)
	}
	var site http1.Site
	err := site.Serve(conn)
	conn.Drop()
	return err
}
