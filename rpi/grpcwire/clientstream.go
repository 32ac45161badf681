package grpcwire

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"golang.org/x/net/http2/hpack"
)

// clientStream is a call as its caller sees it.
type clientStream struct {
	stream
	t    *Transport
	ctx  context.Context
	spec connect.Spec
	info *connect.CallInfo

	start    sync.Mutex // of whoever opens the call
	opened   bool       // start
	request  *buffer    // of a call with one request, until CloseSend
	sentAny  bool
	sentAll  bool
	received bool
	taken    bool // the header has been handed to info
	conn     *clientConn
	waiter   chan struct{} // stream.ready, which goes with the stream

	// What the reader has seen; stream.mu.
	status   string // of HTTP
	content  string
	encoding string
	grpc     [3]string // status, message, details
	header   []field
	trailer  []field
	large    bool
	over     bool        // the caller has the result, or does not want it
	unwatch  func() bool // nil: the context is not watched
}

// arrived wakes the caller: of a unary call only when all is here.
func (s *clientStream) arrived(end bool) {
	if s.ready != nil && (end || s.allow < streamWindow/2 || s.spec.StreamType&connect.StreamTypeServer != 0) {
		notify(s.ready)
	}
}

func (s *clientStream) broken(error) {}

// fields takes a block of the response.
func (s *clientStream) fields(fields []hpack.HeaderField, tooLarge, end bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return violation(codeStreamClosed, "HEADERS after the end of their stream")
	}
	first := s.status == ""
	if first && len(fields) > 0 && strings.HasPrefix(fields[0].Value, "1") && fields[0].Name == ":status" && !end {
		return nil // informational
	}
	if !first && !end {
		return violation(codeProtocol, "trailers that do not end their stream")
	}
	s.large = s.large || tooLarge
	for i := range fields {
		name, value := fields[i].Name, fields[i].Value
		switch name {
		case ":status":
			s.status = value
		case "content-type":
			s.content = value
		case "grpc-encoding":
			s.encoding = value
		case "grpc-accept-encoding":
		case "grpc-status":
			s.grpc[0] = value
		case "grpc-message":
			s.grpc[1] = value
		case "grpc-status-details-bin":
			s.grpc[2] = value
		default:
			if !validField(name, value) {
				return violation(codeProtocol, "malformed header")
			}
			if end {
				s.trailer = append(s.trailer, field{name, value})
			} else {
				s.header = append(s.header, field{name, value})
			}
		}
	}
	if s.status == "" {
		return violation(codeProtocol, "response without a status")
	}
	if end {
		s.ended = true
	} else {
		s.grpc = [3]string{} // before a message they mean nothing
	}
	s.side.arrived(end)
	return nil
}

func (s *clientStream) SendHeaders() error {
	if s.spec.StreamType&connect.StreamTypeClient == 0 {
		return nil
	}
	_, err := s.open(nil, false)
	return err
}

func (s *clientStream) Send(msg any) error {
	if s.sentAll {
		return io.EOF
	}
	single := s.spec.StreamType&connect.StreamTypeClient == 0
	if single && s.sentAny {
		return errors.New("grpcwire: request sent more than once")
	}
	s.sentAny = true
	data := getBuffer()
	if err := data.encode(msg); err != nil {
		data.free()
		return err
	}
	s.info.SendStats.Size = len(data.b) - prefixLen
	if single {
		s.request = data
		return nil
	}
	defer data.free()
	return s.write(data.b, false)
}

// write sends data, behind the request's header if that has not gone out.
func (s *clientStream) write(data []byte, end bool) error {
	sent, err := s.open(data, end)
	if sent || err != nil {
		return err
	}
	return s.sendError(s.c.send(&s.stream, data, end, s.ctx.Done()))
}

// sendError is io.EOF if the server has ended the call: Receive says how.
func (s *clientStream) sendError(err error) error {
	switch {
	case err == nil:
		return nil
	case s.ctx.Err() != nil:
		return contextError(s.ctx.Err())
	}
	return io.EOF
}

func (s *clientStream) CloseSend() error {
	if s.sentAll {
		return nil
	}
	s.sentAll = true
	var data []byte
	if s.request != nil {
		data = s.request.b
	}
	err := s.write(data, true)
	s.request.free()
	s.request = nil
	if err == io.EOF { // Receive says why
		return nil
	}
	return err
}

// open sends the request's header, if that has not been done, and says whether
// data went out with it.
func (s *clientStream) open(data []byte, end bool) (sent bool, err error) {
	s.start.Lock()
	defer s.start.Unlock()
	if s.opened {
		return false, nil
	}
	if err := s.ctx.Err(); err != nil {
		return false, contextError(err)
	}
	if err := checkHeader(s.info.RequestHeader()); err != nil {
		return false, err
	}
	for ended := 0; ended < maxEnded; {
		c, err := s.t.conn(s.ctx)
		if err != nil {
			return false, err
		}
		sent, err = s.openOn(c, data, end)
		if err == nil {
			s.watch()
		}
		if err != errNext && err != errTurn {
			return sent, err
		}
		if err == errNext {
			ended++
		}
	}
	return false, unreached(errNext)
}

// watch has a stream end with its context, even if nobody is at it any more. The
// receiver of a unary call is.
func (s *clientStream) watch() {
	if s.spec.StreamType == connect.StreamTypeUnary {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.unwatch = context.AfterFunc(s.ctx, func() { s.abandon(contextError(s.ctx.Err())) })
	}
}

// maxEnded bounds the connections that a call finds ended: a server that stops
// ends each as soon as it is made.
const maxEnded = 4

// errNext says that the connection takes no calls any more, errTurn that it may
// have room again.
var (
	errNext = errors.New("grpcwire: the connection takes no more calls")
	errTurn = errors.New("grpcwire: look again")
)

func (s *clientStream) openOn(c *clientConn, data []byte, end bool) (sent bool, err error) {
	var timeout [10]byte
	var remaining []byte
	if deadline, ok := s.ctx.Deadline(); ok {
		remaining = appendTimeout(timeout[:0], time.Until(deadline))
	}
	c.mu.Lock()
	if c.err != nil || c.leaving || c.nextID > maxStreamID-2 {
		c.mu.Unlock()
		s.t.retire(c)
		return false, errNext
	}
	if len(c.streams) == 0 {
		c.hear() // what was silence before is none
	}
	if len(c.streams) >= c.most {
		if err := c.wait(s.ctx); err != nil {
			return false, err
		}
		return false, errTurn
	}
	s.waiter = make(chan struct{}, 1)
	s.c, s.id, s.side, s.window, s.allow, s.ready = c.conn, c.nextID, s, c.initial, streamWindow, s.waiter
	s.conn, s.opened = c, true
	c.nextID += 2
	c.streams[s.id] = &s.stream
	s.sentEnd = end && data == nil
	c.out = s.headers(c.out, remaining, s.sentEnd)
	sent = data == nil || c.put(&s.stream, data, end)
	c.release(true)
	return sent, nil
}

// headers adds the request's header; c is locked.
func (s *clientStream) headers(b []byte, timeout []byte, end bool) []byte {
	e := &s.c.enc
	at := len(b)
	b = e.begin(append(b, make([]byte, frameHeaderLen)...))
	if block, ok := e.blocks[s.spec.Procedure]; ok {
		b = append(b, block...)
	} else {
		from, added := len(b), e.added
		b = append(b, indexPost, indexHTTP)
		b = e.constant(b, ":path", s.spec.Procedure)
		b = e.constant(b, ":authority", s.t.addr)
		b = e.constant(b, "content-type", "application/grpc")
		b = e.constant(b, "te", "trailers")
		if added == e.added {
			e.blocks[s.spec.Procedure] = append([]byte(nil), b[from:]...)
		}
	}
	if len(timeout) > 0 {
		b = append(appendString(append(b, 0), "grpc-timeout"), byte(len(timeout)))
		b = append(b, timeout...)
	}
	if h := s.info.RequestHeader(); !h.Has("User-Agent") {
		b = e.constant(b, "user-agent", s.t.opts.UserAgent)
	}
	b = e.appendHeader(b, s.info.RequestHeader())
	return endHeaders(b, at, s.id, end)
}

func (s *clientStream) Receive(dst any) error {
	if _, err := s.open(nil, false); err != nil {
		return err
	}
	single := s.spec.StreamType&connect.StreamTypeServer == 0
	if single && s.received {
		return io.EOF
	}
	for {
		if !single || s.whole() {
			msg, err := s.next(s.t.opts.MaxMessage)
			if msg != nil || err != nil {
				return s.receive(msg, err, dst, single)
			}
		}
		select {
		case <-s.waiter:
		case <-s.ctx.Done():
			return s.stop(contextError(s.ctx.Err()))
		}
	}
}

// whole says whether the answer of a call with one response is complete, or
// has to be made room for.
func (s *clientStream) whole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended || s.err != nil || s.allow < streamWindow/2
}

func (s *clientStream) receive(msg []byte, err error, dst any, single bool) error {
	s.takeHeader()
	if msg != nil {
		if err := s.acceptable(); err != nil {
			return s.stop(err)
		}
	}
	switch {
	case err == io.EOF:
		if err := s.acceptable(); err != nil {
			return s.stop(err)
		}
		err = s.verdict()
		if err == nil && single {
			err = connect.NewError(connect.CodeUnimplemented, "unary stream has zero messages")
		}
		if err == nil {
			err = io.EOF
		}
		return s.stop(err)
	case err != nil:
		return s.stop(s.lost(err))
	}
	s.info.ReceiveStats.Size = len(msg)
	if err := decode(msg, dst); err != nil {
		return s.stop(err)
	}
	if !single {
		return nil
	}
	s.received = true
	for { // the status comes behind the message
		more, err := s.next(s.t.opts.MaxMessage)
		switch {
		case more != nil:
			return s.stop(connect.NewError(connect.CodeUnimplemented, "unary stream has multiple messages"))
		case err == io.EOF:
			return s.stop(s.verdict())
		case err != nil:
			return s.stop(s.lost(err))
		}
		select {
		case <-s.waiter:
		case <-s.ctx.Done():
			return s.stop(contextError(s.ctx.Err()))
		}
	}
}

// acceptable checks the response's header.
func (s *clientStream) acceptable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.large:
		return connect.NewError(connect.CodeResourceExhausted, "response headers too large")
	case s.status != "200":
		return connect.Errorf(httpCode(s.status), "HTTP status %s", s.status)
	case s.content != "application/grpc" && s.content != "application/grpc+proto":
		return connect.Errorf(connect.CodeUnknown, "invalid content-type: %q; expecting %q", s.content, "application/grpc")
	case s.encoding != "" && s.encoding != connect.CompressionNameIdentity:
		return connect.Errorf(connect.CodeInternal, "unknown encoding %q: accepted encodings are identity", s.encoding)
	}
	return nil
}

func httpCode(status string) connect.Code {
	switch status {
	case "400":
		return connect.CodeInternal
	case "401":
		return connect.CodeUnauthenticated
	case "403":
		return connect.CodePermissionDenied
	case "404":
		return connect.CodeUnimplemented
	case "429", "502", "503", "504":
		return connect.CodeUnavailable
	}
	return connect.CodeUnknown
}

// verdict is how the server says that the call ended.
func (s *clientStream) verdict() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.trailer {
		addField(s.info.ResponseTrailer(), f.name, f.value)
	}
	if s.grpc[0] == "" {
		return connect.NewError(connect.CodeInternal, "protocol error: no Grpc-Status trailer").WithCause(io.ErrUnexpectedEOF)
	}
	return statusOf(s.grpc[0], s.grpc[1], s.grpc[2])
}

func (s *clientStream) takeHeader() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.taken {
		s.taken = true
		for _, f := range s.header {
			addField(s.info.ResponseHeader(), f.name, f.value)
		}
	}
}

// lost is what a caller sees of a stream that broke.
func (s *clientStream) lost(err error) error {
	if ended := s.ctx.Err(); ended != nil {
		return contextError(ended)
	}
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return e
	}
	code := connect.CodeUnavailable
	if r, ok := errors.AsType[*resetError](err); ok {
		switch r.code {
		case codeRefused:
			return connect.NewError(code, err.Error()).WithCause(errors.Join(ErrUnprocessed, err))
		case codeCancel:
			if deadline, ok := s.ctx.Deadline(); ok && !time.Now().Before(deadline) {
				<-s.ctx.Done() // the server saw it first
				return contextError(s.ctx.Err())
			}
			code = connect.CodeCanceled
		case codeEnhanceYourCalm:
			code = connect.CodeResourceExhausted
		case codeInadequate:
			code = connect.CodePermissionDenied
		default:
			code = connect.CodeInternal
		}
	}
	return connect.NewError(code, err.Error()).WithCause(err)
}

// stop lets go of the stream, as its receiver, and returns err.
func (s *clientStream) stop(err error) error {
	s.abandon(nil)
	return err
}

// Close gives the call up if it has not ended.
func (s *clientStream) Close() error {
	s.start.Lock()
	opened := s.opened
	s.opened = true // never again
	s.start.Unlock()
	if opened {
		s.abandon(errClosed)
	}
	return nil
}

// abandon forgets the stream, and tells the server if it has not ended. Only
// the receiver, whose cause is nil, knows that nobody waits for it any more.
func (s *clientStream) abandon(cause error) {
	s.mu.Lock()
	if s.over || s.conn == nil {
		s.mu.Unlock()
		return
	}
	s.over = true
	complete, unwatch := s.ended, s.unwatch
	if cause != nil {
		s.err = cmp.Or(s.err, cause)
		notify(s.waiter)
	}
	s.mu.Unlock()
	if unwatch != nil {
		unwatch()
	}
	c := s.conn
	c.mu.Lock()
	if c.streams[s.id] == &s.stream {
		delete(c.streams, s.id)
		if (!complete || !s.sentEnd) && !s.reset {
			c.out = appendUint32Frame(c.out, frameReset, s.id, codeCancel)
		}
	}
	delete(c.blocked, &s.stream)
	if s.room != nil {
		notify(s.room)
	}
	c.free()
	idle := c.leaving && len(c.streams) == 0
	c.release(false)
	s.finish(cause == nil)
	if idle {
		c.close()
	}
}

var errClosed error = connect.NewError(connect.CodeCanceled, "the call was closed")
