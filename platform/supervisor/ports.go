package supervisor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Ports that instances get come from here: below the range that systems use for
// outgoing connections, so that a port found free stays free.
const (
	firstPort = 20_000
	lastPort  = 31_999
)

// ports hands out loopback ports.
type ports struct {
	mu   sync.Mutex
	used map[int]bool
	next int
}

func newPorts() *ports {
	// Two systems on one machine begin at different places.
	return &ports{used: map[int]bool{}, next: firstPort + os.Getpid()*16%(lastPort-firstPort)}
}

// take returns a port that nobody listens on.
func (p *ports) take() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range lastPort - firstPort {
		port := p.next
		if p.next++; p.next > lastPort {
			p.next = firstPort
		}
		if p.used[port] || !free("127.0.0.1:"+strconv.Itoa(port)) {
			continue
		}
		p.used[port] = true
		return port, nil
	}
	return 0, fmt.Errorf("no free port between %d and %d", firstPort, lastPort)
}

func (p *ports) claim(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used[port] = true
}

func (p *ports) release(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, port)
}

func free(address string) bool {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	ln.Close()
	return true
}

// sockets holds the listening sockets of fixed addresses.
type sockets struct {
	mu   sync.Mutex
	open map[string]*net.TCPListener
}

// hold opens the address unless it is open.
func (s *sockets) hold(address, service string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[address] != nil {
		return nil
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return &TakenError{Address: address, For: service}
	}
	s.put(ln.(*net.TCPListener), address)
	return nil
}

func (s *sockets) put(ln *net.TCPListener, address string) {
	if s.open == nil {
		s.open = map[string]*net.TCPListener{}
	}
	s.open[address] = ln
}

// adopt keeps sockets that an adopted process has.
func (s *sockets) adopt(list []*net.TCPListener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ln := range list {
		if address := ln.Addr().String(); s.open[address] == nil {
			s.put(ln, address)
		} else {
			ln.Close()
		}
	}
}

// file returns a copy of the address's socket to pass on. It does not use the
// listener's File method: starting a process with that would put the socket, for
// all who share it, into blocking mode, and a program that then waits in accept
// cannot be told to stop.
func (s *sockets) file(address string) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ln := s.open[address]
	if ln == nil {
		return nil, errors.New(address + " is not open")
	}
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	var copied int
	var copyErr error
	err = raw.Control(func(fd uintptr) {
		copied, copyErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, copyErr); err != nil {
		return nil, fmt.Errorf("copy the socket of %s: %w", address, err)
	}
	return os.NewFile(uintptr(copied), address), nil
}

func (s *sockets) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ln := range s.open {
		ln.Close()
	}
	s.open = nil
}

func (s *sockets) held(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[address] != nil
}
