package rpi

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
)

// localCall is a unary call in the same process, both halves of it. Messages
// pass as bytes, so neither side can reach the other's.
type localCall struct {
	server *connect.Server
	spec   connect.Spec
	ctx    context.Context // the caller's: its values stay here
	info   *connect.CallInfo
	timer  *time.Timer // ends the call; nil if the caller's context does

	sent, closed bool // the send side's
	received     bool // the receive side's

	ended atomic.Bool
	done  chan struct{} // closed when the call has ended; what follows is read after it
	err   error
	heard bool // the handler has ended the call

	handler localHandler
}

// localHandler is the handler's half.
type localHandler struct {
	handlerContext
	call     *localCall
	info     connect.CallInfo
	header   connect.Header // as it was at the first message
	request  *[]byte        // nil when it was received
	response *[]byte
	empty    bool // the caller sent no request
}

func newLocalCall(ctx context.Context, l local, spec connect.Spec, info *connect.CallInfo) *localCall {
	c := &localCall{server: l.server, spec: spec, ctx: ctx, info: info, done: make(chan struct{})}
	c.handler.call = c
	if deadline, ok := ctx.Deadline(); ok {
		c.handler.until = deadline
	} else if l.timeout > 0 {
		c.handler.until = time.Now().Add(l.timeout)
		c.timer = time.AfterFunc(l.timeout, c.expire)
	}
	return c
}

// end makes err the verdict, unless there is one.
func (c *localCall) end(err error, heard bool) {
	if c.ended.CompareAndSwap(false, true) {
		c.err, c.heard = err, heard
		close(c.done)
	}
}

func (c *localCall) expire() { c.giveUp(context.DeadlineExceeded) }

// giveUp ends the call before its handler has, and tells the handler.
func (c *localCall) giveUp(err error) {
	c.end(contextError(err), false)
	c.handler.end(err)
}

// start runs the handler on its own goroutine, so that a deadline holds even
// if the handler ignores it.
func (c *localCall) start() error {
	if err := c.ctx.Err(); err != nil {
		c.giveUp(err)
		return c.err
	}
	serverInfo(&c.handler.info, c.spec, c.info.RequestHeader())
	go c.serve()
	return nil
}

func (c *localCall) serve() {
	room(0)
	h := &c.handler
	var err error
	returned := false
	defer func() {
		if !returned { // it panicked or exited; NewServer's chain has logged it
			recover() // nothing of it is told
			err = connect.NewError(connect.CodeInternal, "")
		}
		h.fixHeader()
		if c.timer != nil {
			c.timer.Stop()
		}
		c.end(asRemote(err), true)
		h.end(context.Canceled)
	}()
	err = c.server.Call(h, c.spec.Procedure, &h.info, h)
	returned = true
}

// room has a new goroutine's stack grow to what a handler needs while there is
// nothing on it to move. Growing step by step beneath the chain of interceptors
// costs more than all of them.
//
//go:noinline
func room(n int) {
	if n > 0 {
		var frame [5 << 10]byte
		room(int(frame[n]))
	}
}

func (c *localCall) SendHeaders() error { return nil }

func (c *localCall) Send(msg any) error {
	switch {
	case c.closed:
		return io.EOF
	case c.sent:
		return errors.New("rpi: unary stream sent more than once")
	}
	data, err := encode(msg)
	if err != nil {
		return err
	}
	if err := checkHeader(c.info.RequestHeader()); err != nil {
		return err
	}
	c.sent = true
	c.handler.request = data
	return c.start()
}

func (c *localCall) CloseSend() error {
	if !c.closed && !c.sent {
		c.handler.empty = true
		c.closed = true
		return c.start()
	}
	c.closed = true
	return nil
}

func (c *localCall) Close() error {
	if !c.ended.Load() {
		c.giveUp(context.Canceled)
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	return nil
}

// Receive waits for the handler's end, as a caller over the wire waits for the
// whole answer.
func (c *localCall) Receive(dst any) error {
	if c.received {
		return io.EOF
	}
	c.received = true
	select {
	case <-c.done:
	case <-c.ctx.Done():
		c.giveUp(c.ctx.Err())
		<-c.done
	}
	if !c.heard {
		return c.err
	}
	h := &c.handler
	copyHeader(c.info.ResponseHeader(), &h.header)
	copyHeader(c.info.ResponseTrailer(), h.info.ResponseTrailer())
	switch {
	case h.response != nil: // sent before the verdict: it stands, whatever came after
		defer recycle(h.response)
		return decode(*h.response, dst)
	case c.err != nil:
		return orOver(c.ctx, h.until, c.err)
	}
	return connect.NewError(connect.CodeUnimplemented, "unary stream has zero messages")
}

// orOver returns the handler's verdict, or the caller's own if its time is over:
// at a deadline that both wait for, it is chance who is first.
func orOver(ctx context.Context, until time.Time, verdict error) error {
	if err := ctx.Err(); err != nil {
		return contextError(err)
	}
	if !until.IsZero() && !time.Now().Before(until) {
		return contextError(context.DeadlineExceeded)
	}
	return verdict
}

func (h *localHandler) SendHeaders() error { return nil }

// fixHeader fixes the response header: what a handler sets later is lost.
func (h *localHandler) fixHeader() {
	if h.response == nil {
		copyHeader(&h.header, h.info.ResponseHeader())
	}
}

func (h *localHandler) Receive(dst any) error {
	if err := h.Err(); err != nil {
		return err
	}
	data := h.request
	if data == nil {
		if h.empty {
			return connect.NewError(connect.CodeUnimplemented, "unary request has zero messages")
		}
		return io.EOF
	}
	h.request = nil
	defer recycle(data)
	return decode(*data, dst)
}

func (h *localHandler) Send(msg any) error {
	if err := h.Err(); err != nil {
		return err
	}
	if h.response != nil {
		return errors.New("rpi: unary response sent more than once")
	}
	data, err := encode(msg)
	if err != nil {
		return err
	}
	h.fixHeader()
	h.response = data
	return nil
}
