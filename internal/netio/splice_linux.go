package netio

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// spliceChunk bounds one trip through a pipe, whose usual capacity it is.
const spliceChunk = 64 << 10

// idlePipes is how many pipes wait for the next use; each costs two descriptors.
const idlePipes = 32

type kernelPipe struct{ r, w int }

var pipes = make(chan kernelPipe, idlePipes)

func getPipe() (kernelPipe, error) {
	select {
	case p := <-pipes:
		return p, nil
	default:
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return kernelPipe{}, err
	}
	return kernelPipe{fds[0], fds[1]}, nil
}

func (p kernelPipe) close() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}

func putPipe(p kernelPipe) {
	select {
	case pipes <- p:
	default:
		p.close()
	}
}

// Splicer moves bytes from one socket to another inside the kernel. Unlike io.Copy it borrows a pipe
// only while there are bytes in it, so that an idle connection costs no descriptor.
type Splicer struct {
	src, dst syscall.RawConn
	in, out  func(fd uintptr) bool
	pipe     kernelPipe
	held     bool // pipe is borrowed
	full     int  // bytes in the pipe
	err      error
}

// NewSplicer returns a Splicer from src to dst.
func NewSplicer(dst, src *net.TCPConn) (*Splicer, error) {
	s := new(Splicer)
	var err error
	if s.src, err = src.SyscallConn(); err != nil {
		return nil, err
	}
	if s.dst, err = dst.SyscallConn(); err != nil {
		return nil, err
	}
	s.in, s.out = s.fill, s.drain
	return s, nil
}

// Next waits for bytes, moves at most 64 KiB and returns how many reached dst. io.EOF says that src
// has finished. errors.ErrUnsupported comes before any byte was taken: no pipe could be had.
func (s *Splicer) Next() (int64, error) {
	s.err = nil
	if err := s.src.Read(s.in); err != nil {
		s.giveBack()
		return 0, err
	}
	if s.err != nil {
		s.giveBack()
		return 0, s.err
	}
	moved := s.full
	err := s.dst.Write(s.out)
	if err == nil {
		err = s.err
	}
	moved -= s.full
	s.giveBack()
	return int64(moved), err
}

// giveBack returns the pipe; one with bytes left in it is useless to others.
func (s *Splicer) giveBack() {
	if !s.held {
		return
	}
	s.held = false
	if s.full > 0 {
		s.full = 0
		s.pipe.close()
		return
	}
	putPipe(s.pipe)
}

func (s *Splicer) fill(fd uintptr) bool {
	if !s.held {
		p, err := getPipe()
		if err != nil {
			s.err = errors.ErrUnsupported
			return true
		}
		s.pipe, s.held = p, true
	}
	for {
		n, err := unix.Splice(int(fd), nil, s.pipe.w, nil, spliceChunk, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			s.giveBack()
			return false
		case err != nil:
			s.err = &net.OpError{Op: "splice", Net: "tcp", Err: err}
		case n == 0:
			s.err = io.EOF
		}
		s.full = int(max(n, 0))
		return true
	}
}

func (s *Splicer) drain(fd uintptr) bool {
	for s.full > 0 {
		n, err := unix.Splice(s.pipe.r, nil, int(fd), nil, s.full, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false
		case err != nil:
			s.err = &net.OpError{Op: "splice", Net: "tcp", Err: err}
			return true
		}
		s.full -= int(n)
	}
	return true
}
