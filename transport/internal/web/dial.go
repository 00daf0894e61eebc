package web

import (
	"context"
	"math/rand/v2"
	"net"
	"time"

	"heki/option"
)

// UserAgent is what a dialer says it is, unless its headers say otherwise.
const UserAgent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"

// RequestFields returns the headers of a dialer's requests, with a User-Agent.
func RequestFields(headers map[string]option.Listable[string]) ([]Field, error) {
	_, fields, err := Fields(headers)
	for _, f := range fields {
		if f.Name == "User-Agent" {
			return fields, err
		}
	}
	return append(fields, Field{"User-Agent", UserAgent}), err
}

// Pick is one of the names for a request, or otherwise when there are none.
func Pick[T any](names []T, otherwise T) T {
	if len(names) == 0 {
		return otherwise
	}
	return names[rand.N(len(names))]
}

// Within runs f, which uses conn, and makes it fail by conn's deadline once ctx is done. The deadline
// is cleared afterwards.
func Within(ctx context.Context, conn net.Conn, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err := f()
	if !stop() {
		return context.Cause(ctx)
	}
	return err
}
