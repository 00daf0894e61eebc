package group

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/constant"
	"heki/option"
)

// maxAnswer bounds the head of an answer in bytes.
const maxAnswer = 16 << 10

// checker asks for a page through each member of a group, again and again, in one goroutine.
type checker struct {
	group    string
	log      *slog.Logger
	interval time.Duration
	timeout  time.Duration
	request  *http.Request
	host     M.Socksaddr
	tls      *tls.Config // nil: http

	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newChecker(log *slog.Logger, group string, o *option.GroupCheck) (*checker, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, err
	}
	c := &checker{group: group, log: log, interval: time.Duration(o.Interval), timeout: time.Duration(o.Timeout)}
	port := uint64(80)
	if u.Scheme == "https" {
		port, c.tls = 443, &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	}
	if text := u.Port(); text != "" {
		if port, err = strconv.ParseUint(text, 10, 16); err != nil {
			return nil, err
		}
	}
	c.host = M.ParseSocksaddrHostPort(u.Hostname(), uint16(port))
	c.request, err = http.NewRequest(http.MethodGet, o.URL, http.NoBody)
	if err != nil {
		return nil, err
	}
	c.request.Close = true
	c.request.Header.Set("User-Agent", "heki/"+constant.Version)
	return c, nil
}

// start checks members until stop.
func (c *checker) start(members []*member) {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.running.Go(func() { c.run(ctx, members) })
}

// stop ends the check and waits for its end. It may come without a start.
func (c *checker) stop() {
	if c.cancel != nil {
		c.cancel()
		c.running.Wait()
	}
}

func (c *checker) run(ctx context.Context, members []*member) {
	for {
		for _, m := range members {
			c.look(ctx, m)
		}
		jitter := time.Duration(rand.Int64N(int64(c.interval)/5+1)) - c.interval/10 // ten per cent either way: nodes do not ask all at once
		timer := time.NewTimer(c.interval + jitter)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// look checks one member and notes what came of it.
func (c *checker) look(ctx context.Context, m *member) {
	start := time.Now()
	err := c.ask(ctx, m)
	if ctx.Err() != nil {
		return // the end of the check says nothing about the member
	}
	if err != nil {
		if !m.down.Swap(true) {
			c.log.LogAttrs(ctx, slog.LevelWarn, "outbound does not work", slog.String("group", c.group), slog.String("outbound", m.Tag()), slog.Any("err", err))
		}
		return
	}
	took := max(time.Since(start), 1)
	if old := m.latency.Load(); old > 0 {
		took = time.Duration((3*old + int64(took)) / 4) // one slow answer is no reason to leave
	}
	m.latency.Store(int64(took))
	if m.down.Swap(false) {
		c.log.LogAttrs(ctx, slog.LevelInfo, "outbound works again", slog.String("group", c.group), slog.String("outbound", m.Tag()))
	}
}

// ask asks for the page once, through m.
func (c *checker) ask(ctx context.Context, m *member) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, err := m.Dial(ctx, &adapter.Metadata{Network: constant.NetworkTCP, Outbound: m.path, Destination: c.host})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	status, err := c.exchange(ctx, conn)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no answer from %s within %s", c.host, c.timeout)
	case err != nil:
		return err
	case status >= http.StatusBadRequest:
		return fmt.Errorf("%s answers with status %d", c.host, status)
	}
	return nil
}

func (c *checker) exchange(ctx context.Context, conn net.Conn) (status int, err error) {
	if c.tls != nil {
		secure := tls.Client(conn, c.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return 0, err
		}
		conn = secure
	}
	if err := c.request.Write(conn); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(&bounded{conn, maxAnswer}), c.request)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, nil // the body ends with the connection, unread
}

// bounded reads so many bytes at most.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, fmt.Errorf("the answer's head has more than %d bytes", maxAnswer)
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
