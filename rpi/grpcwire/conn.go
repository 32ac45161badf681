package grpcwire

import (
	"cmp"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

// peer is what server and client do differently.
type peer interface {
	// headers takes a block of fields; they are valid during the call.
	headers(id uint32, fields []hpack.HeaderField, tooLarge, end bool) error
	goAway(last, code uint32)
	maxStreams(n uint32)
	failed(err error)
	// unknown says whether a frame for a stream that is no more may be ignored.
	unknown(id uint32) bool
}

const (
	streamWindow = 64 << 10 // bytes a peer may send on a stream before they are read
	connWindow   = 1 << 20  // given back as bytes arrive; what they may add up to, the streams bound
	maxPending   = 1 << 20  // bytes waiting to be written, above which senders wait
	maxReplies   = 1 << 10  // answers to control frames waiting to be written, above which the peer is at fault
	maxBlock     = 96 << 10 // bytes of one block of headers
	maxHeaders   = 64 << 10 // bytes of fields in a block, as SETTINGS_MAX_HEADER_LIST_SIZE counts
	maxContinued = 16       // CONTINUATION frames of one block
)

// conn is one connection, either end: a goroutine reads, another writes what
// all have left in out, so that many calls share a system call.
type conn struct {
	nc   net.Conn
	peer peer
	wake chan struct{} // for the writer
	gone chan struct{} // closed with the connection

	origin time.Time
	heard  atomic.Int64  // when something has arrived last, since origin
	news   atomic.Uint32 // how often that was not an answer to a ping

	mu       sync.Mutex
	out      []byte // frames to be written
	spare    []byte // the writer's other buffer
	writing  bool   // somebody writes, or is about to
	closing  bool   // end when all is written
	cause    error  // and why; nil: nothing went wrong
	writes   uint32 // how often something was written
	replies  int    // control frames in out that the peer has provoked
	window   int64  // what the peer takes on this connection
	initial  int64  // and on each new stream
	maxFrame int
	kin      bool // the peer is of this package, too
	enc      encoder
	streams  map[uint32]*stream
	blocked  map[*stream]struct{} // that wait for a window, or for out to shrink
	err      error

	reader
}

// reader is the reading goroutine's own.
type reader struct {
	dec        *hpack.Decoder
	fields     []hpack.HeaderField
	size       int // of fields
	block      []byte
	blockID    uint32 // the stream whose block goes on; 0: none
	blockEnd   bool
	continued  int
	received   int  // on the connection, not given back
	settled    bool // the first frame was SETTINGS
	configured bool // and they were applied
	last       *stream
}

func newConn(nc net.Conn, p peer) *conn {
	c := &conn{
		nc: nc, peer: p, wake: make(chan struct{}, 1), gone: make(chan struct{}), origin: time.Now(),
		window: defaultWindow, initial: defaultWindow, maxFrame: maxFrameLen,
		enc: newEncoder(), streams: map[uint32]*stream{}, blocked: map[*stream]struct{}{},
	}
	c.dec = hpack.NewDecoder(tableSize, func(f hpack.HeaderField) {
		if c.size += int(f.Size()); c.size <= maxHeaders {
			c.fields = append(c.fields, f)
		}
	})
	c.dec.SetMaxStringLength(maxBlock)
	return c
}

// serve reads until the connection ends, and returns why. first was read
// before.
func (c *conn) serve(first []byte) error {
	err := c.read(first)
	if violated, ok := errors.AsType[*connError](err); ok {
		c.farewell(violated)
	}
	c.fail(err)
	return c.err
}

// farewell tells the peer what it did wrong, if it listens.
func (c *conn) farewell(e *connError) {
	c.mu.Lock()
	c.closing, c.cause = true, e
	c.out = appendGoAway(c.out, maxStreamID, e.code, e.reason)
	c.release(false)
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case <-c.gone:
	case <-patience.C:
	}
}

// fail ends the connection and all its streams.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	all := make([]*stream, 0, len(c.streams))
	for _, s := range c.streams {
		all = append(all, s)
	}
	clear(c.streams)
	c.mu.Unlock()
	close(c.gone)
	_ = c.nc.Close()
	for _, s := range all {
		s.broken(err)
	}
	c.peer.failed(err)
}

// release unlocks c and sees to it that out is written: by the caller if it
// may and is alone, else by the writer, so that others can add to it first.
func (c *conn) release(inline bool) {
	if c.writing || len(c.out) == 0 || c.err != nil {
		c.mu.Unlock()
		return
	}
	c.writing = true
	inline = inline && len(c.streams) <= 1 && len(c.out) <= maxFrameLen
	c.mu.Unlock()
	if inline {
		c.drain()
		return
	}
	c.wake <- struct{}{}
}

func (c *conn) write() {
	for {
		select {
		case <-c.wake:
		case <-c.gone:
			return
		}
		runtime.Gosched() // whoever can run adds what it has
		c.drain()
	}
}

// drain writes until there is nothing left.
func (c *conn) drain() {
	for {
		c.mu.Lock()
		if len(c.out) == 0 || c.err != nil {
			c.writing = false
			closing, cause := c.closing, cmp.Or(c.cause, net.ErrClosed)
			c.mu.Unlock()
			if closing {
				c.fail(cause)
			}
			return
		}
		buf := c.out
		c.out, c.spare = c.spare[:0], nil
		c.replies = 0
		c.writes++
		c.mu.Unlock()
		_, err := c.nc.Write(buf)
		if err != nil {
			c.fail(err)
			return
		}
		if cap(buf) > 256<<10 {
			buf = nil
		}
		c.mu.Lock()
		c.spare = buf[:0]
		c.writes++
		c.unblock()
		c.mu.Unlock()
	}
}

// unblock wakes the streams that wait to send; c is locked.
func (c *conn) unblock() {
	for s := range c.blocked {
		notify(s.room)
	}
	clear(c.blocked)
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// reply adds what the peer has provoked.
func (c *conn) reply(add func(b []byte) []byte) error {
	c.mu.Lock()
	if c.replies++; c.replies > maxReplies {
		c.mu.Unlock()
		return violation(codeEnhanceYourCalm, "too many control frames")
	}
	c.out = add(c.out)
	c.release(false)
	return nil
}

// takes returns how much of n bytes may be sent on s now; c is locked.
func (c *conn) takes(s *stream, n int) int {
	if len(c.out) > maxPending {
		return 0
	}
	return int(max(min(int64(n), c.window, s.window, int64(c.maxFrame)), 0))
}

// put appends data if all of it may be sent at once; c is locked.
func (c *conn) put(s *stream, data []byte, end bool) bool {
	if c.takes(s, len(data)) < len(data) {
		return false
	}
	c.window -= int64(len(data))
	s.window -= int64(len(data))
	s.sentEnd = end
	c.out = appendData(c.out, s.id, data, end)
	return true
}

// send writes data as the peer takes it, until done is closed.
func (c *conn) send(s *stream, data []byte, end bool, done <-chan struct{}) error {
	for {
		c.mu.Lock()
		if err := c.sendable(s); err != nil {
			c.mu.Unlock()
			return err
		}
		n := c.takes(s, len(data))
		if n > 0 || len(data) == 0 {
			last := n == len(data)
			c.window -= int64(n)
			s.window -= int64(n)
			s.sentEnd = end && last
			c.out = appendData(c.out, s.id, data[:n], s.sentEnd)
			c.release(true)
			if last {
				return nil
			}
			data = data[n:]
			continue
		}
		if s.room == nil {
			s.room = make(chan struct{}, 1)
		}
		c.blocked[s] = struct{}{}
		c.mu.Unlock()
		select {
		case <-s.room:
		case <-done:
			c.mu.Lock()
			delete(c.blocked, s)
			c.mu.Unlock()
			return errStopped
		case <-c.gone:
		}
	}
}

// errStopped ends a send whose call has ended.
var errStopped = errors.New("http2: the call has ended")

// sendable returns why s can send nothing; c is locked.
func (c *conn) sendable(s *stream) error {
	if c.err != nil {
		return c.err
	}
	if c.streams[s.id] != s || s.reset {
		return errStopped
	}
	return nil
}

// close ends the connection when all is written.
func (c *conn) close() {
	c.mu.Lock()
	c.closing = true
	idle := !c.writing && len(c.out) == 0
	c.release(false)
	if idle {
		c.fail(net.ErrClosed)
	}
}

// hear notes that the peer is there.
func (c *conn) hear() { c.heard.Store(int64(time.Since(c.origin))) }

// maxPings bounds the pings of one silence of a stranger: servers of grpc-go
// end connections that are pinged more often. After them TCP's keep-alive has to
// do.
const maxPings = 2

// keepAlive pings a peer that says nothing for the time of silence while calls
// are under way, and gives it up if it does not answer within that of pong. A write
// that does not get on counts as silence.
func (c *conn) keepAlive(silence, pong time.Duration) {
	timer := time.NewTimer(silence)
	defer timer.Stop()
	var writes, news uint32
	var pings int
	var asked, moved time.Duration // when pinged, 0: not; when the writer was seen to get on
	for {
		select {
		case <-timer.C:
		case <-c.gone:
			return
		}
		now, heard := time.Since(c.origin), time.Duration(c.heard.Load())
		if n := c.news.Load(); n != news {
			news, pings = n, 0
		}
		c.mu.Lock()
		if !c.writing || len(c.out) == 0 || c.writes != writes {
			moved = now
		}
		writes = c.writes
		wait := silence - (now - heard)
		switch unanswered := asked > heard; {
		case now-moved >= silence, unanswered && now-asked >= pong:
			c.mu.Unlock()
			c.fail(errSilent)
			return
		case unanswered:
			wait = pong - (now - asked)
		case wait > 0:
		case len(c.streams) == 0, pings >= maxPings && !c.kin:
			wait = silence
		default:
			pings++
			asked, wait = now, pong
			c.out = append(appendFrame(c.out, framePing, 0, 0, 8), "cleave\r\n"...)
		}
		c.release(false)
		timer.Reset(wait)
	}
}

var errSilent = errors.New("http2: the peer does not answer")
