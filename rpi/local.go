package rpi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
)

// MaxMessage is the size in bytes above which a message is refused, on both
// bindings.
const MaxMessage = 4 << 20

// LocalOptions tune Local. Nil means the defaults.
type LocalOptions struct {
	Call CallOptions
}

// Local returns a transport to s in the same process. What a caller and a
// handler can observe is what they would observe over the wire.
func Local(s *connect.Server, o *LocalOptions) connect.Transport {
	if o == nil {
		o = &LocalOptions{}
	}
	return chained(local{s}.open, o.Call.interceptor("local"))
}

type local struct{ server *connect.Server }

func (l local) open(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	info, _ := connect.CallInfoForClientContext(ctx)
	if info == nil {
		info = &connect.CallInfo{}
	}
	info.Spec, info.Protocol, info.Codec = spec, protocolLocal, connect.CodecNameProto
	c := &localCall{
		server: l.server, spec: spec, ctx: ctx, info: info,
		requests: make(chan []byte, 1), responses: make(chan []byte, 1),
		sent: make(chan struct{}), done: make(chan struct{}),
	}
	return c, nil
}

// protocolLocal is what CallInfo.Protocol says in the same process.
const protocolLocal = "local"

// localCall is both halves of one call. Messages pass as bytes, so neither
// side can reach the other's.
type localCall struct {
	server *connect.Server
	spec   connect.Spec
	ctx    context.Context // the caller's: its values stay here
	info   *connect.CallInfo

	begin     sync.Once
	cancel    context.CancelFunc // of the server's context; set by begin
	requests  chan []byte
	responses chan []byte
	sent      chan struct{} // closed when the client has sent all
	sentOnce  sync.Once
	done      chan struct{} // closed when the handler has returned
	err       error         // the handler's verdict; read after done

	header, trailer connect.Header // as the server sent them; read after a response, after done
	received        bool           // unary: the response was taken
	sentAny         bool
}

// start runs the handler on its own goroutine, so that the caller's deadline
// holds even if the handler ignores it.
func (c *localCall) start() error {
	if err := c.ctx.Err(); err != nil {
		return contextError(err)
	}
	c.begin.Do(func() {
		server := &connect.CallInfo{Spec: c.spec, Protocol: protocolLocal, Codec: connect.CodecNameProto}
		for k, v := range c.info.RequestHeader().All() {
			server.RequestHeader().SetValues(k, slices.Clone(v))
		}
		ctx, cancel := context.WithCancel(context.Background())
		if deadline, ok := c.ctx.Deadline(); ok {
			ctx, cancel = context.WithDeadline(context.Background(), deadline)
		}
		c.cancel = cancel
		stop := context.AfterFunc(c.ctx, cancel)
		go func() {
			defer cancel()
			defer stop()
			c.serve(ctx, server)
		}()
	})
	return nil
}

func (c *localCall) serve(ctx context.Context, info *connect.CallInfo) {
	stream := &localServerStream{c: c, ctx: ctx, info: info}
	verdict := error(connect.NewError(connect.CodeInternal, "")) // stands if the handler panics or exits
	defer func() {
		recover() //nolint:errcheck // the verdict says it; NewServer's chain has logged it
		stream.flushHeader()
		copyHeader(&c.trailer, info.ResponseTrailer())
		c.err = asRemote(verdict)
		close(c.done)
	}()
	verdict = c.server.Call(ctx, c.spec.Procedure, info, stream)
}

func (c *localCall) SendHeaders() error {
	if c.spec.StreamType == connect.StreamTypeUnary {
		return nil
	}
	return c.start()
}

func (c *localCall) Send(msg any) error {
	select {
	case <-c.sent:
		return io.EOF
	default:
	}
	if c.spec.StreamType == connect.StreamTypeUnary && c.sentAny {
		return errors.New("rpi: unary stream sent more than once")
	}
	c.sentAny = true
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

func (c *localCall) CloseSend() error {
	c.sentOnce.Do(func() { close(c.sent) })
	return nil
}

func (c *localCall) Close() error {
	err := c.CloseSend()
	if c.cancel != nil {
		c.cancel()
	}
	return err
}

func (c *localCall) Receive(dst any) error {
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
func (c *localCall) receiveOne(dst any) error {
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
		return decode(data, dst)
	default:
	}
	if c.err != nil {
		return c.err
	}
	return connect.NewError(connect.CodeUnimplemented, "unary stream has zero messages")
}

func (c *localCall) receiveNext(dst any) error {
	var data []byte
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
				return c.err
			}
			return io.EOF
		}
	}
	c.takeHeader()
	return decode(data, dst)
}

func (c *localCall) takeHeader()  { copyHeader(c.info.ResponseHeader(), &c.header) }
func (c *localCall) takeTrailer() { copyHeader(c.info.ResponseTrailer(), &c.trailer) }

// localServerStream is the handler's half.
type localServerStream struct {
	c        *localCall
	ctx      context.Context
	info     *connect.CallInfo
	received bool
	flushed  bool
}

func (s *localServerStream) SendHeaders() error { return nil }

// flushHeader fixes the response header: what a handler sets later is lost.
func (s *localServerStream) flushHeader() {
	if !s.flushed {
		s.flushed = true
		copyHeader(&s.c.header, s.info.ResponseHeader())
	}
}

func (s *localServerStream) Receive(dst any) error {
	single := s.c.spec.StreamType&connect.StreamTypeClient == 0
	if single && s.received {
		return io.EOF
	}
	s.received = true
	var data []byte
	select {
	case data = <-s.c.requests:
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-s.c.sent:
		select {
		case data = <-s.c.requests:
		default:
			if single {
				return connect.NewError(connect.CodeUnimplemented, "unary request has zero messages")
			}
			return io.EOF
		}
	}
	if len(data) > MaxMessage {
		return connect.Errorf(connect.CodeResourceExhausted, "message size %d is larger than configured max %d", len(data), MaxMessage)
	}
	return decode(data, dst)
}

func (s *localServerStream) Send(msg any) error {
	data, err := encode(msg)
	if err != nil {
		return err
	}
	s.flushHeader()
	select {
	case s.c.responses <- data:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// encode returns msg as bytes; a string that is not UTF-8 is an error, as on
// the wire.
func encode(msg any) ([]byte, error) {
	m, ok := msg.(proto.Message)
	if !ok {
		return nil, connect.Errorf(connect.CodeInternal, "marshal message: %T is not a proto.Message", msg)
	}
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, connect.Errorf(connect.CodeInternal, "marshal message: %s", err).WithCause(err)
	}
	if data == nil { // of a nil message: an empty one
		data = []byte{}
	}
	return data, nil
}

func decode(data []byte, dst any) error {
	m, ok := dst.(proto.Message)
	if !ok {
		return connect.Errorf(connect.CodeInternal, "unmarshal message: %T is not a proto.Message", dst)
	}
	if len(data) > MaxMessage {
		return connect.Errorf(connect.CodeResourceExhausted, "message size %d is larger than configured max %d", len(data), MaxMessage)
	}
	if err := proto.Unmarshal(data, m); err != nil {
		return connect.Errorf(connect.CodeInvalidArgument, "unmarshal message: %s", err).WithCause(err)
	}
	return nil
}

// asRemote returns a handler's error as its caller sees it over the wire:
// code, message and details of its own *connect.Error, nothing of any other.
func asRemote(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*connect.Error](err)
	switch {
	case ok && e == nil:
		return connect.NewError(connect.CodeUnknown, "").WithRemote()
	case !ok:
		return connect.NewError(codeOf(err), "").WithRemote()
	case e.IsRemote(): // a neighbour's verdict is not this server's
		return connect.NewError(connect.CodeInternal, "").WithRemote()
	}
	clean := connect.NewError(e.Code(), strings.ToValidUTF8(e.Message(), string(utf8.RuneError)))
	for _, d := range e.Details() {
		clean = clean.WithDetail(&connect.ErrorDetail{Type: d.Type, Value: d.Value})
	}
	return clean.WithRemote()
}

func codeOf(err error) connect.Code {
	switch {
	case errors.Is(err, context.Canceled):
		return connect.CodeCanceled
	case errors.Is(err, context.DeadlineExceeded):
		return connect.CodeDeadlineExceeded
	}
	return connect.CodeUnknown
}

// contextError is the local verdict on a call whose context has ended.
func contextError(err error) error {
	return connect.NewError(codeOf(err), err.Error()).WithCause(err)
}

func copyHeader(dst, src *connect.Header) {
	for k, v := range src.All() {
		dst.SetValues(k, slices.Clone(v))
	}
}

// checkHeader refuses what net/http would not send.
func checkHeader(h *connect.Header) error {
	for k, values := range h.All() {
		for _, v := range values {
			for i := range len(v) {
				if (v[i] < ' ' && v[i] != '\t') || v[i] == 0x7f {
					err := fmt.Errorf("net/http: invalid header field value for %q", k)
					return connect.NewError(connect.CodeUnavailable, err.Error()).WithCause(err)
				}
			}
		}
	}
	return nil
}
