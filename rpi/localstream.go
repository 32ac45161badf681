package rpi

import (
	"context"
	"errors"
	"io"
	"sync"

	"connectrpc.com/connect/v2"
)

// localStream is the client's half of a stream in the same process. Messages
// pass as bytes, so neither side can reach the other's.
type localStream struct {
	server *connect.Server
	spec   connect.Spec
	ctx    context.Context // the caller's: its values stay here
	info   *connect.CallInfo

	begin     sync.Once
	requests  chan *[]byte
	responses chan *[]byte
	sent      chan struct{} // closed when the client has sent all
	sentOnce  sync.Once
	done      chan struct{} // closed when the handler has returned
	err       error         // the handler's verdict; read after done

	header, trailer connect.Header // as the server sent them; read after a response, after done
	received        bool           // of a single response: it was taken

	handler localStreamHandler
}

// localStreamHandler is the handler's half.
type localStreamHandler struct {
	handlerContext
	c        *localStream
	info     connect.CallInfo
	received bool
	flushed  bool
}

func newLocalStream(ctx context.Context, s *connect.Server, spec connect.Spec, info *connect.CallInfo) *localStream {
	c := &localStream{
		server: s, spec: spec, ctx: ctx, info: info,
		requests: make(chan *[]byte, 1), responses: make(chan *[]byte, 1),
		sent: make(chan struct{}), done: make(chan struct{}),
	}
	c.handler.c = c
	c.handler.until, _ = ctx.Deadline()
	return c
}

// start runs the handler on its own goroutine, so that the caller's deadline
// holds even if the handler ignores it.
func (c *localStream) start() error {
	if err := c.ctx.Err(); err != nil {
		return contextError(err)
	}
	c.begin.Do(func() {
		serverInfo(&c.handler.info, c.spec, c.info.RequestHeader())
		stop := context.AfterFunc(c.ctx, func() { c.handler.end(c.ctx.Err()) })
		go func() {
			defer stop()
			c.serve()
		}()
	})
	return nil
}

func (c *localStream) serve() {
	room(0)
	h := &c.handler
	verdict := error(connect.NewError(connect.CodeInternal, "")) // stands if the handler panics or exits
	defer func() {
		recover() // the verdict says it; NewServer's chain has logged it
		h.fixHeader()
		copyHeader(&c.trailer, h.info.ResponseTrailer())
		c.err = asRemote(verdict)
		close(c.done)
		h.end(context.Canceled)
	}()
	verdict = c.server.Call(h, c.spec.Procedure, &h.info, h)
}

func (c *localStream) SendHeaders() error { return c.start() }

func (c *localStream) Send(msg any) error {
	select {
	case <-c.sent:
		return io.EOF
	default:
	}
	data, err := encode(msg)
	if err != nil {
		return err
	}
	if err := checkHeader(c.info.RequestHeader()); err != nil {
		return err
	}
	if c.spec.StreamType&connect.StreamTypeClient == 0 { // the only one: there is room for it
		select {
		case c.requests <- data:
		default:
			return errors.New("rpi: request sent more than once")
		}
		return c.start()
	}
	if err := c.start(); err != nil {
		return err
	}
	select {
	case c.requests <- data:
		return nil
	case <-c.done:
		return io.EOF
	case <-c.ctx.Done():
		return contextError(c.ctx.Err())
	}
}

func (c *localStream) CloseSend() error {
	c.sentOnce.Do(func() { close(c.sent) })
	return nil
}

func (c *localStream) Close() error {
	err := c.CloseSend()
	c.handler.end(context.Canceled)
	return err
}

func (c *localStream) Receive(dst any) error {
	if err := c.start(); err != nil {
		return err
	}
	if c.spec.StreamType&connect.StreamTypeServer == 0 {
		return c.receiveOne(dst)
	}
	return c.receiveNext(dst)
}

// receiveOne waits for the handler's end, as a caller over the wire waits for
// the whole answer.
func (c *localStream) receiveOne(dst any) error {
	if c.received {
		return io.EOF
	}
	c.received = true
	select {
	case <-c.done:
	case <-c.ctx.Done():
		return contextError(c.ctx.Err())
	}
	c.takeHeader()
	c.takeTrailer()
	select {
	case data := <-c.responses: // sent before the verdict: it stands, whatever came after
		defer recycle(data)
		return decode(*data, dst)
	default:
	}
	if c.err != nil {
		return orOver(c.ctx, c.handler.until, c.err)
	}
	return connect.NewError(connect.CodeUnimplemented, "unary stream has zero messages")
}

func (c *localStream) receiveNext(dst any) error {
	var data *[]byte
	select {
	case data = <-c.responses:
	case <-c.ctx.Done():
		return contextError(c.ctx.Err())
	case <-c.done:
		select {
		case data = <-c.responses: // one may have been left behind
		default:
			c.takeHeader()
			c.takeTrailer()
			if c.err != nil {
				return orOver(c.ctx, c.handler.until, c.err)
			}
			return io.EOF
		}
	}
	c.takeHeader()
	defer recycle(data)
	return decode(*data, dst)
}

func (c *localStream) takeHeader()  { copyHeader(c.info.ResponseHeader(), &c.header) }
func (c *localStream) takeTrailer() { copyHeader(c.info.ResponseTrailer(), &c.trailer) }

func (h *localStreamHandler) SendHeaders() error { return nil }

// fixHeader fixes the response header: what a handler sets later is lost.
func (h *localStreamHandler) fixHeader() {
	if !h.flushed {
		h.flushed = true
		copyHeader(&h.c.header, h.info.ResponseHeader())
	}
}

func (h *localStreamHandler) Receive(dst any) error {
	single := h.c.spec.StreamType&connect.StreamTypeClient == 0
	if single && h.received {
		return io.EOF
	}
	h.received = true
	var data *[]byte
	select {
	case data = <-h.c.requests:
	case <-h.Done():
		return h.Err()
	case <-h.c.sent:
		select {
		case data = <-h.c.requests:
		default:
			if single {
				return connect.NewError(connect.CodeUnimplemented, "unary request has zero messages")
			}
			return io.EOF
		}
	}
	defer recycle(data)
	return decode(*data, dst)
}

func (h *localStreamHandler) Send(msg any) error {
	data, err := encode(msg)
	if err != nil {
		return err
	}
	h.fixHeader()
	select {
	case h.c.responses <- data:
		return nil
	case <-h.Done():
		return h.Err()
	}
}
