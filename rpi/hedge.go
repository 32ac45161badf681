package rpi

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	"github.com/cleave-go/cleave/retry"
)

// latencies are how long the answers to each procedure took of late.
type latencies struct{ of sync.Map } // procedure string -> *recent

func (l *latencies) recent(procedure string) *recent {
	if r, ok := l.of.Load(procedure); ok {
		return r.(*recent)
	}
	r, _ := l.of.LoadOrStore(procedure, &recent{})
	return r.(*recent)
}

// recent holds the last answer times of a procedure.
type recent struct {
	mu   sync.Mutex
	took [128]time.Duration
	n    int
	p95  time.Duration // 0: not known yet
}

func (r *recent) add(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took[r.n%len(r.took)] = d
	if r.n++; r.n%16 == 0 && r.n >= 32 {
		sorted := r.took
		some := sorted[:min(r.n, len(sorted))]
		slices.Sort(some)
		r.p95 = some[len(some)*95/100]
	}
}

func (r *recent) usual() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.p95
}

// hedges reports whether the call may be sent to two instances at once.
func (c *unaryCall) hedges() bool {
	_, isProto := c.msg.(proto.Message)
	return c.t.usual != nil && isProto && c.spec.IdempotencyLevel == connect.IdempotencyNoSideEffects && !repeated(c.ctx)
}

// hedged asks a second instance when the first takes longer than usual, and
// returns the first answer.
func (c *unaryCall) hedged(ctx context.Context, dst any) error {
	usual := c.t.usual.recent(c.spec.Procedure)
	type answer struct {
		info *connect.CallInfo
		msg  proto.Message
	}
	headers := maps.Collect(c.info.RequestHeader().All())
	msg := proto.Clone(c.msg.(proto.Message)) // the slower request may outlast the call, and the caller's right to change it
	got, err := retry.Hedge(ctx, usual.usual(), &c.t.budget, func(ctx context.Context) (answer, error) {
		ctx, a := own(ctx, headers), answer{msg: dst.(proto.Message).ProtoReflect().New().Interface()}
		a.info, _ = connect.CallInfoForClientContext(ctx)
		begin := time.Now()
		err := c.attempt(ctx, a.info, msg, a.msg)
		if err == nil {
			usual.add(time.Since(begin))
		}
		return a, err
	})
	if got.info != nil {
		forgetAnswer(c.info)
		adopt(c.info, got.info)
	}
	if err == nil {
		proto.Merge(dst.(proto.Message), got.msg)
	}
	return err
}

// own returns a context with headers of its own: two requests are under way at
// once.
func own(ctx context.Context, headers map[string][]string) context.Context {
	ctx, info := connect.NewClientContext(ctx)
	for k, v := range headers {
		info.RequestHeader().SetValues(k, slices.Clone(v))
	}
	return ctx
}

// adopt makes the answer to one request that of the call.
func adopt(call, request *connect.CallInfo) {
	call.PeerAddr, call.Protocol, call.Codec = request.PeerAddr, request.Protocol, request.Codec
	call.RequestEncoding, call.ResponseEncoding = request.RequestEncoding, request.ResponseEncoding
	call.SendStats, call.ReceiveStats, call.TransportInfo = request.SendStats, request.ReceiveStats, request.TransportInfo
	for k, v := range request.ResponseHeader().All() {
		call.ResponseHeader().SetValues(k, v)
	}
	for k, v := range request.ResponseTrailer().All() {
		call.ResponseTrailer().SetValues(k, v)
	}
}
