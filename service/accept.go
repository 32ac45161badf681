package service

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// settle is how long nobody must have connected before a listener that stops
// is closed. Some callers chose it a moment before they heard that it stops and
// connect a moment after, and a connection that the kernel has taken but the
// process has not is lost when the socket closes: a busy process may be behind
// with accepting.
const settle = 100 * time.Millisecond

// acceptor is a listener that can be emptied before it is closed.
type acceptor struct {
	net.Listener
	settle    time.Duration
	finishing atomic.Bool
}

func newAcceptor(l net.Listener, settle time.Duration) *acceptor {
	return &acceptor{Listener: l, settle: settle}
}

// finish has Accept end with net.ErrClosed when nobody connects any more.
func (a *acceptor) finish() {
	a.finishing.Store(true)
	a.arm()
}

func (a *acceptor) arm() {
	if l, ok := a.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		_ = l.SetDeadline(time.Now().Add(a.settle)) // fails on a closed socket, as Accept will
	}
}

// Accept asks more than once before it believes that nobody comes: a process
// that did not get to run sees time pass, not connections.
func (a *acceptor) Accept() (net.Conn, error) {
	for range 3 {
		if a.finishing.Load() {
			a.arm()
		}
		conn, err := a.Listener.Accept()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return conn, err
		}
	}
	return nil, net.ErrClosed
}

// sharedSocket is a listener on a socket from which other processes accept,
// too. One of them can make it blocking for all, as passing on the File of a
// Go listener does; closing it then waits for the accept under way, and that for
// someone to connect.
type sharedSocket struct {
	net.Listener
	next  chan accepted // the accept under way, nil if there is none
	stuck chan struct{} // closed when that is given up
	once  sync.Once
}

type accepted struct {
	conn net.Conn
	err  error
}

func newSharedSocket(l net.Listener) *sharedSocket {
	return &sharedSocket{Listener: l, stuck: make(chan struct{})}
}

// Accept is called by one goroutine at a time, as http.Server does.
func (s *sharedSocket) Accept() (net.Conn, error) {
	if s.next == nil {
		next := make(chan accepted, 1)
		s.next = next
		go func() {
			conn, err := s.Listener.Accept()
			next <- accepted{conn, err}
		}()
	}
	select {
	case got := <-s.next:
		s.next = nil
		return got.conn, got.err
	case <-s.stuck:
		return nil, net.ErrClosed
	}
}

// Close returns when no accept is under way any more, or after a second.
func (s *sharedSocket) Close() error {
	var err error
	if !within(time.Second, func() { err = s.Listener.Close() }) {
		s.once.Do(func() { close(s.stuck) })
		return nil
	}
	return err
}
