package grpcwire

import (
	"cmp"
	"errors"
	"io"
	"slices"

	"connectrpc.com/connect/v2"
)

// serverStream is a call as its handler sees it.
type serverStream struct {
	stream
	method
	conn *serverConn
	ctx  callContext
	info connect.CallInfo

	begun    bool // a goroutine has it; stream.mu
	received bool
	sent     bool
	flushed  bool
	header   []headerField // as it was at the first message
	large    bool          // or would have been: it is too large
	answer   *buffer       // of a unary call, until its handler has returned
}

type headerField struct {
	key    string
	values []string
}

// arrived begins a unary call when its request is complete, or too large to
// wait for without a reader.
func (st *serverStream) arrived(end bool) {
	switch {
	case st.begun:
		if st.ready != nil {
			notify(st.ready)
		}
	case end || len(st.in.b) > streamWindow/4:
		st.begin()
	}
}

// begin hands the call to a goroutine; the stream is locked.
func (st *serverStream) begin() {
	st.begun = true
	st.c.mu.Lock()
	st.conn.running++
	st.c.mu.Unlock()
	st.conn.calls.Add(1)
	st.conn.s.workers.run(st)
}

func (st *serverStream) broken(error) {
	st.ctx.end()
	st.mu.Lock()
	begun := st.begun
	st.mu.Unlock()
	if !begun {
		st.c.mu.Lock()
		delete(st.c.streams, st.id)
		st.conn.left()
		st.c.mu.Unlock()
		st.finish(true)
	}
}

// left notes that there may be no call any more; the connection is locked.
func (c *serverConn) left() {
	if c.draining && c.running == 0 && len(c.streams) == 0 {
		notify(c.empty)
	}
}

// run calls the handler and sends its verdict.
func (st *serverStream) run() {
	defer st.conn.calls.Done()
	returned := false
	defer func() {
		if !returned { // it panicked or left by Goexit; rpi.NewServer's chain has logged it
			p := recover()
			_ = p
			st.end(connect.NewError(connect.CodeInternal, ""))
		}
	}()
	err := st.calls.Call(&st.ctx, st.spec.Procedure, &st.info, st)
	returned = true
	if err != nil {
		st.end(verdict(err))
		return
	}
	st.end(nil)
}

// end sends what is left of the answer and lets go of the stream.
func (st *serverStream) end(err *connect.Error) {
	st.mu.Lock()
	ended := st.ended
	st.mu.Unlock()
	c := st.c
	if err == nil && st.large {
		err = errLargeHeader
	}
	if st.answer != nil && err != nil {
		st.answer.free()
		st.answer, st.flushed = nil, st.flushed && st.spec.StreamType != connect.StreamTypeUnary
	}
	complete := true
	end := endingOf(err)
	c.mu.Lock()
	if st.answer != nil && c.sendable(&st.stream) == nil {
		st.headers()
		if !c.put(&st.stream, st.answer.b, false) {
			c.release(false)
			complete = c.send(&st.stream, st.answer.b, false, st.ctx.Done()) == nil
			c.mu.Lock()
		}
	}
	switch {
	case c.sendable(&st.stream) != nil:
	case !complete: // a part of the message has gone out: no status fits
		c.out = appendUint32Frame(c.out, frameReset, st.id, codeCancel)
	default:
		c.out = st.trailers(c.out, end)
		if !ended {
			c.out = appendUint32Frame(c.out, frameReset, st.id, codeNone)
		}
	}
	delete(c.streams, st.id)
	delete(c.blocked, &st.stream)
	st.conn.running--
	st.conn.left()
	c.release(true)
	st.answer.free()
	st.answer = nil
	st.ctx.end()
	st.finish(true)
}

// headers adds the response's header; c is locked.
func (st *serverStream) headers() {
	if c := st.c; c.sendable(&st.stream) == nil {
		at := len(c.out)
		b := c.enc.begin(append(c.out, make([]byte, frameHeaderLen)...))
		b = c.enc.constant(append(b, indexStatus), "content-type", "application/grpc")
		b = st.fields(b)
		c.out = endHeaders(b, at, st.id, false)
	}
}

// fields adds what the handler has set.
func (st *serverStream) fields(b []byte) []byte {
	if !st.flushed {
		if sizeOf(st.info.ResponseHeader()) > maxSent {
			return b
		}
		return st.c.enc.appendHeader(b, st.info.ResponseHeader())
	}
	var h connect.Header
	for _, f := range st.header {
		h.SetValues(f.key, f.values)
	}
	return st.c.enc.appendHeader(b, &h)
}

// trailers adds the end of the response; c is locked. Without a message before
// them they are all of it.
func (st *serverStream) trailers(b []byte, end ending) []byte {
	if !st.flushed && st.info.ResponseHeader().Len() > 0 {
		st.headers()
		b = st.c.out
		st.flushed = true
	}
	at := len(b)
	e := &st.c.enc
	b = e.begin(append(b, make([]byte, frameHeaderLen)...))
	if !st.flushed {
		b = e.constant(append(b, indexStatus), "content-type", "application/grpc")
	}
	if end.size()+sizeOf(st.info.ResponseTrailer()) > maxSent {
		b = e.appendStatus(b, end.cut())
	} else {
		b = e.appendStatus(b, end)
		b = e.appendHeader(b, st.info.ResponseTrailer())
	}
	return endHeaders(b, at, st.id, true)
}

// flush fixes the header: what a handler sets later is lost.
func (st *serverStream) flush() {
	st.flushed = true
	if st.large = sizeOf(st.info.ResponseHeader()) > maxSent; st.large {
		return
	}
	for k, v := range st.info.ResponseHeader().All() {
		st.header = append(st.header, headerField{k, slices.Clone(v)})
	}
}

func (st *serverStream) SendHeaders() error {
	if st.spec.StreamType == connect.StreamTypeUnary || st.flushed {
		return nil
	}
	st.flush()
	st.c.mu.Lock()
	st.headers()
	st.c.release(true)
	if st.large {
		return errLargeHeader
	}
	return nil
}

var errLargeHeader = connect.NewError(connect.CodeResourceExhausted, "response headers too large")

func (st *serverStream) Send(msg any) error {
	answer := getBuffer()
	if err := answer.encode(msg); err != nil {
		answer.free()
		return err
	}
	st.info.SendStats.Size = len(answer.b) - prefixLen
	if st.spec.StreamType&connect.StreamTypeServer == 0 {
		if st.sent {
			answer.free()
			return errors.New("grpcwire: response sent more than once")
		}
	}
	st.sent = true
	if st.spec.StreamType == connect.StreamTypeUnary {
		st.flush()
		st.answer = answer
		return nil
	}
	defer answer.free()
	if err := st.SendHeaders(); err != nil {
		return err
	}
	if err := st.c.send(&st.stream, answer.b, false, st.ctx.Done()); err != nil {
		if ended := st.ctx.Err(); ended != nil {
			return ended
		}
		return connect.NewError(connect.CodeUnavailable, err.Error()).WithCause(err)
	}
	return nil
}

func (st *serverStream) Receive(dst any) error {
	single := st.spec.StreamType&connect.StreamTypeClient == 0
	if single && st.received {
		return io.EOF
	}
	msg, err := st.wait()
	switch {
	case err == io.EOF && single:
		return connect.NewError(connect.CodeUnimplemented, "unary request has zero messages")
	case err != nil:
		return err
	}
	st.received = true
	st.info.ReceiveStats.Size = len(msg)
	if err := decode(msg, dst); err != nil || !single {
		return err
	}
	switch _, err := st.wait(); err {
	case io.EOF:
		return nil
	case nil:
		return connect.NewError(connect.CodeUnimplemented, "unary request has multiple messages")
	default:
		return err
	}
}

// wait returns the next message, valid until it is called again.
func (st *serverStream) wait() ([]byte, error) {
	for {
		msg, err := st.next(st.conn.s.opts.MaxMessage)
		if err != nil && err != io.EOF {
			err = cmp.Or(st.ctx.Err(), err)
		}
		if msg != nil || err != nil {
			return msg, err
		}
		select {
		case <-st.ready: // begun, so nobody else replaces it
		case <-st.ctx.Done():
			return nil, st.ctx.Err()
		}
	}
}
