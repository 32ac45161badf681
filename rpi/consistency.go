package rpi

import (
	"context"
	"sync"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/event"
)

// ConsistencyHeader carries a consistency token: in a request what the answer
// must include, in a response what the call has caused.
const ConsistencyHeader = "Cleave-Consistency"

// Consistency collects what the calls of one request have caused. It is safe
// for concurrent use.
type Consistency struct {
	mu       sync.Mutex
	required event.Token
	caused   event.Token
}

// Token returns what was required at first and everything caused since.
func (c *Consistency) Token() event.Token {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.required.Merge(c.caused)
}

// Caused returns what was caused since the beginning.
func (c *Consistency) Caused() event.Token {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.caused
}

func (c *Consistency) add(t event.Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.caused = c.caused.Merge(t)
}

type consistencyKey struct{}

// WithConsistency returns a context whose calls ask for answers that include
// t, and the collector of what they cause, which later calls ask for too.
// Servers have done this for their handlers.
func WithConsistency(ctx context.Context, t event.Token) (context.Context, *Consistency) {
	c := &consistencyContext{Context: ctx, Consistency: Consistency{required: t}}
	return c, &c.Consistency
}

// consistencyContext is a collector and the context that it is in, made at
// once.
type consistencyContext struct {
	context.Context
	Consistency
}

func (c *consistencyContext) Value(key any) any {
	if key == (consistencyKey{}) {
		return &c.Consistency
	}
	return c.Context.Value(key)
}

func consistencyOf(ctx context.Context) *Consistency {
	c, _ := ctx.Value(consistencyKey{}).(*Consistency)
	return c
}

// Required returns what an answer to the request must include, the zero Token
// for nothing.
func Required(ctx context.Context) event.Token {
	if c := consistencyOf(ctx); c != nil {
		return c.Token()
	}
	return event.Token{}
}

// Committed tells the caller of the request that it has caused source's
// records up to pos. Outside a request it does nothing.
func Committed(ctx context.Context, source, epoch string, pos event.Position) {
	if c := consistencyOf(ctx); c != nil {
		c.add(event.Token{}.With(source, epoch, pos))
	}
}

// ask writes what a call's answer must include.
func (c *Consistency) ask(h *connect.Header) {
	if c == nil {
		return
	}
	if t := c.Token(); !t.IsZero() {
		h.Set(ConsistencyHeader, t.String())
	}
}

// gather reads what a call has caused. A token that does not parse is the
// server's mistake and not worth the answer.
func (c *Consistency) gather(h *connect.Header) {
	if c == nil || !h.Has(ConsistencyHeader) {
		return
	}
	if t, err := event.ParseToken(h.Get(ConsistencyHeader)); err == nil {
		c.add(t)
	}
}

// request gives handlers what the events they record carry, and what their
// answer must include, and callers what was caused.
func (o ServerOptions) request(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		info, ok := connect.CallInfoForServerContext(ctx)
		if !ok {
			return next(ctx, spec, stream)
		}
		ctx = withRequestMeta(ctx, field(info.RequestHeader(), CorrelationHeader))
		r := &requestContext{consistencyContext: consistencyContext{Context: ctx}}
		r.stream = consistentStream{ServerStream: stream, c: &r.Consistency, header: info.ResponseHeader()}
		if text := field(info.RequestHeader(), ConsistencyHeader); text != "" {
			t, err := event.ParseToken(text)
			if err != nil {
				return InvalidField(ConsistencyHeader, err.Error())
			}
			r.required = t
		}
		err := next(r, spec, &r.stream)
		r.stream.tell()
		return err
	}
}

// requestContext is what a server keeps for one request, made at once.
type requestContext struct {
	consistencyContext
	stream consistentStream
}

// consistentStream puts the token into the header before it is sent.
type consistentStream struct {
	connect.ServerStream
	c      *Consistency
	header *connect.Header
	told   bool
}

func (s *consistentStream) tell() {
	if s.told {
		return
	}
	s.told = true
	if t := s.c.Caused(); !t.IsZero() {
		s.header.Set(ConsistencyHeader, t.String())
	}
}

func (s *consistentStream) SendHeaders() error {
	s.tell()
	return s.ServerStream.SendHeaders()
}

func (s *consistentStream) Send(msg any) error {
	s.tell()
	return s.ServerStream.Send(msg)
}
