package paneltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
)

// Server is a Panel that listens on loopback.
type Server struct {
	*Panel
	URL string // http://127.0.0.1:port

	mu   sync.Mutex
	addr string
	http *http.Server // nil while down
	done chan struct{}
}

// Start serves p on a free port of 127.0.0.1.
func Start(p *Panel) (*Server, error) {
	s := &Server{Panel: p, addr: "127.0.0.1:0"}
	if err := s.Up(); err != nil {
		return nil, err
	}
	s.URL = "http://" + s.addr
	return s, nil
}

// Down closes the port and every connection: nodes are refused.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http == nil {
		return
	}
	s.http.Close()
	<-s.done
	s.http = nil
}

// Up opens the port again. It is the same as before.
func (s *Server) Up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("panel simulator: %w", err)
	}
	s.addr = l.Addr().String()
	server := &http.Server{Handler: s.Panel, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	s.http, s.done = server, done
	go func() {
		defer close(done)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			l.Close()
		}
	}()
	return nil
}

// Close stops serving and ends requests that hang.
func (s *Server) Close() {
	s.Panel.Close()
	s.Down()
}
