package grpcwire

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"connectrpc.com/connect/v2"
)

// side is the call that a stream carries, either end.
type side interface {
	// arrived is told of each piece of data; the stream is locked.
	arrived(end bool)
	// broken is told that the peer, or the connection, has given the stream up.
	broken(err error)
}

// stream is one call on a connection.
type stream struct {
	c    *conn
	id   uint32
	side side

	window  int64         // what the peer takes; c.mu
	room    chan struct{} // tells a blocked sender to look again; c.mu
	reset   bool          // by the peer; c.mu
	sentEnd bool          // our END_STREAM is out; c.mu

	mu     sync.Mutex
	in     *buffer // what has arrived
	at     int     // what of it was read
	allow  int     // what may arrive before more is granted
	ended  bool    // nothing more arrives
	closed bool    // nobody reads any more
	err    error   // why the stream broke
	ready  chan struct{}
}

// resetError is the peer's RST_STREAM.
type resetError struct{ code uint32 }

func (e *resetError) Error() string {
	return fmt.Sprintf("http2: stream reset (error code %d)", e.code)
}

// take adds what has arrived; length counts the padding.
func (s *stream) take(p []byte, length int, end bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return violation(codeStreamClosed, "DATA after the end of its stream")
	}
	if s.allow -= length; s.allow < 0 {
		return violation(codeFlowControl, "more DATA than was allowed")
	}
	s.ended = end
	if s.closed || s.err != nil {
		return nil
	}
	if s.in == nil {
		s.in = getBuffer()
	}
	s.in.b = append(s.in.b, p...)
	s.side.arrived(end)
	return nil
}

func (s *stream) broken(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	if s.ready != nil {
		notify(s.ready)
	}
	s.mu.Unlock()
	s.side.broken(err)
}

// finish lets go of what was received, for others to use if nobody looks at
// it any more.
func (s *stream) finish(free bool) {
	s.mu.Lock()
	s.closed = true
	in := s.in
	s.in, s.ready = nil, nil
	s.mu.Unlock()
	if free {
		in.free()
	}
}

// next returns the next message, valid until the following call; io.EOF if
// there is none. It is nil, nil if one has to wait for it on ready.
func (s *stream) next(limit int) (msg []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, cmp.Or(s.err, io.EOF)
	}
	var have []byte
	if s.in != nil {
		if s.at > 0 {
			s.in.b = s.in.b[:copy(s.in.b, s.in.b[s.at:])]
			s.at = 0
		}
		have = s.in.b
	}
	if len(have) >= prefixLen {
		if have[0] != 0 {
			return nil, connect.Errorf(connect.CodeInternal, "protocol error: compressed message without an encoding")
		}
		size := uint64(binary.BigEndian.Uint32(have[1:]))
		if size > uint64(limit) {
			return nil, connect.Errorf(connect.CodeResourceExhausted, "message size %d is larger than configured max %d", size, limit)
		}
		if whole := prefixLen + int(size); len(have) >= whole {
			s.at = whole
			s.grant(len(have) - whole)
			return have[prefixLen:whole:whole], nil
		}
	}
	if s.ended {
		if len(have) > 0 {
			return nil, connect.Errorf(connect.CodeInternal, "protocol error: incomplete message").WithCause(io.ErrUnexpectedEOF)
		}
		return nil, io.EOF
	}
	if s.err != nil {
		return nil, s.err
	}
	if s.ready == nil {
		s.ready = make(chan struct{}, 1)
	}
	s.grant(0) // what is here belongs to a message whose size was checked
	return nil, nil
}

// grant lets the peer send more, so that what it has sent and nobody has taken
// stays within the window. s is locked.
func (s *stream) grant(untaken int) {
	n := streamWindow - untaken - s.allow
	if s.ended || n < streamWindow/2 {
		return
	}
	s.allow += n
	s.mu.Unlock()
	s.c.mu.Lock()
	if s.c.sendable(s) == nil {
		s.c.out = appendUint32Frame(s.c.out, frameWindowUpdate, s.id, uint32(n))
	}
	s.c.release(false)
	s.mu.Lock()
}
