// Package admin is a small web server for the operator: whether heki lives, what it serves, and figures for
// Prometheus.
package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"heki/internal/meter"
	"heki/option"
	"heki/panel"
)

// State is what there is to tell at one moment.
type State struct {
	Started  time.Time
	Offset   time.Duration // of the panels' clock, ahead of ours
	Nodes    []panel.Status
	Inbounds []Inbound
}

// Inbound is an inbound of the file.
type Inbound struct {
	Tag string
	meter.Stats
}

// Server answers at one address.
type Server struct {
	state func() State
	token *[sha256.Size]byte // nil: nobody is asked for one
	http  *http.Server
	at    net.Addr
	wg    sync.WaitGroup
}

// Times and sizes of a connection. Only the operator's tools connect.
const (
	headTime  = 10 * time.Second
	idleTime  = time.Minute
	answerFor = 30 * time.Second
	headSize  = 8 << 10
)

// Start binds o's address and answers there with what state returns, from several goroutines, until Close.
func Start(o *option.Admin, state func() State, log *slog.Logger) (*Server, error) {
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("admin.listen: %w", err)
	}
	s := &Server{state: state, at: listener.Addr()}
	if o.Token != "" {
		sum := sha256.Sum256([]byte(o.Token))
		s.token = &sum
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", s.guarded(s.ready))
	mux.HandleFunc("GET /status", s.guarded(s.status))
	mux.HandleFunc("GET /metrics", s.guarded(s.metrics))
	s.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: headTime, ReadTimeout: headTime, WriteTimeout: answerFor, IdleTimeout: idleTime,
		MaxHeaderBytes: headSize, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.wg.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the admin server has ended", "err", err)
		}
	})
	return s, nil
}

// Addr is where it answers.
func (s *Server) Addr() net.Addr { return s.at }

// Close ends it and its connections.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	s.wg.Wait()
	return err
}

// guarded asks for the token first.
func (s *Server) guarded(serve func(w http.ResponseWriter, st State)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.token != nil {
			given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			sum := sha256.Sum256([]byte(given)) // of one length, so that comparing tells nothing
			if subtle.ConstantTimeCompare(sum[:], s.token[:]) != 1 {
				w.Header().Set("WWW-Authenticate", `Bearer realm="heki"`)
				plain(w, http.StatusUnauthorized, "admin.token is asked for: Authorization: Bearer …\n")
				return
			}
		}
		serve(w, s.state())
	}
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // who has gone needs no answer
}

// ready says whether every node of a panel is served.
func (s *Server) ready(w http.ResponseWriter, st State) {
	var missing []string
	for _, n := range st.Nodes {
		if !n.Serving {
			missing = append(missing, fmt.Sprintf("%s: not served: %s\n", n.Tag, n.Err))
		}
	}
	if len(missing) > 0 {
		plain(w, http.StatusServiceUnavailable, strings.Join(missing, ""))
		return
	}
	plain(w, http.StatusOK, "ok\n")
}

func (s *Server) status(w http.ResponseWriter, st State) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(report(st)) // who has gone needs no answer
}

func (s *Server) metrics(w http.ResponseWriter, st State) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(appendMetrics(nil, st))
}
