package rpi

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/retry"
)

// unaryCall sends one request, to another instance if the first cannot have
// done it or it does no harm twice.
type unaryCall struct {
	t        *RemoteTransport
	ctx      context.Context
	info     *connect.CallInfo
	spec     connect.Spec
	msg      any
	sent     bool
	received bool
	policy   retry.Policy
	sendings atomic.Int32 // tries begun

	mu    sync.Mutex
	tried []string // instances
}

func (c *unaryCall) SendHeaders() error { return nil }

func (c *unaryCall) Send(msg any) error {
	if c.sent {
		return errors.New("rpi: unary stream sent more than once")
	}
	c.msg, c.sent = msg, true
	return nil
}

func (c *unaryCall) CloseSend() error { return nil }
func (c *unaryCall) Close() error     { return nil }

func (c *unaryCall) Receive(dst any) (err error) {
	if c.received {
		return io.EOF
	}
	c.received = true
	if err := c.ctx.Err(); err != nil {
		return contextError(err)
	}
	permit, err := c.t.breaker.Allow()
	if err != nil {
		giveUp(c.ctx)
		return refused(c.t.service, err)
	}
	defer func() { permit.Done(c.ctx, err) }()
	c.info, _ = connect.CallInfoForClientContext(c.ctx)
	defer c.name()()
	c.policy = retry.Policy{
		Retry: c.verdict, Attempts: c.t.attempts, PerAttempt: c.t.perTry, Backoff: 30 * time.Millisecond,
		Budget: &c.t.budget, OnRetry: func(a retry.Attempt) { noteEnd(c.ctx, a) },
	}
	return retry.Do(c.ctx, &c.policy, func(ctx context.Context) error {
		if c.hedges() {
			return c.hedged(ctx, dst)
		}
		return c.attempt(ctx, c.info, c.msg, dst)
	})
}

// name gives a call that may be executed twice an id, by which a server can
// tell (see Once). The id and the count of tries are the call's, not the
// caller's, who may use the headers for another.
func (c *unaryCall) name() (forget func()) {
	h := c.info.RequestHeader()
	named := c.spec.IdempotencyLevel == connect.IdempotencyIdempotent && !h.Has(callHeader)
	if named {
		h.Set(callHeader, event.NewID().String())
	}
	return func() {
		if named {
			h.Delete(callHeader)
		}
		if c.sendings.Load() > 1 {
			h.Delete(attemptHeader)
		}
	}
}

// elsewhere bounds how many instances that cannot be reached are passed over in
// one try.
const elsewhere = 4

// attempt sends the request to an instance. One that cannot be reached was not
// asked, so the next is, at no charge.
func (c *unaryCall) attempt(ctx context.Context, info *connect.CallInfo, msg, dst any) error {
	if n := c.sendings.Add(1); n > 1 {
		info.RequestHeader().Set(attemptHeader, strconv.Itoa(int(n)))
		forgetAnswer(info)
	}
	picked, err := c.pick(ctx)
	for n := 1; err == nil; n++ {
		err = c.try(ctx, picked, msg, dst)
		picked.Done(unwell(err))
		if err == nil || n > elsewhere || !unsent(err) || ctx.Err() != nil {
			return err
		}
		if picked = c.pickAnother(); picked == nil {
			return err
		}
		err = nil
	}
	return err
}

// pick chooses an instance that was not tried yet, or any if all were.
func (c *unaryCall) pick(ctx context.Context) (*discovery.Picked, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	picked, err := c.t.pick(ctx, c.tried...)
	if err == nil {
		c.tried = append(c.tried, picked.Instance.ID)
	}
	return picked, err
}

// pickAnother chooses an instance that was not tried yet, nil if all were.
func (c *unaryCall) pickAnother() *discovery.Picked {
	c.mu.Lock()
	defer c.mu.Unlock()
	picked, err := c.t.balancer.Pick(c.tried...)
	if err != nil {
		return nil
	}
	c.tried = append(c.tried, picked.Instance.ID)
	return picked
}

// forgetAnswer clears what a failed try has left, so that it is not taken for
// the next one's.
func forgetAnswer(info *connect.CallInfo) {
	for _, h := range []*connect.Header{info.ResponseHeader(), info.ResponseTrailer()} {
		for k := range h.All() {
			h.Delete(k)
		}
	}
}

func (c *unaryCall) try(ctx context.Context, picked *discovery.Picked, msg, dst any) (err error) {
	ctx, span := c.t.attempt(ctx, c.spec, picked.Instance.Addr, int(c.sendings.Load()))
	if span != nil {
		info, _ := connect.CallInfoForClientContext(ctx)
		injectTrace(ctx, info.RequestHeader())
		defer func() { noteProtocol(span, info); endSpan(span, err) }()
	}
	stream, err := c.t.endpoint(picked.Instance).newStream(ctx, picked.Instance, c.spec)
	if err != nil {
		return err
	}
	defer stream.Close() // the verdict is Receive's
	if err := stream.Send(msg); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.Receive(dst)
}

// verdict says whether the call may be tried again after err: if it does no
// harm twice, or no server can have done it.
func (c *unaryCall) verdict(err error) retry.Verdict {
	wait := time.Duration(0)
	info, hinted := detail[*errdetails.RetryInfo](err)
	if hinted {
		wait = info.GetRetryDelay().AsDuration()
	}
	wait = max(wait, pushedBack(c.info))
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable:
	case connect.CodeResourceExhausted:
		if !hinted {
			return retry.Stop
		}
	case connect.CodeDeadlineExceeded:
		if c.t.perTry <= 0 { // the time that ran out is the call's
			return retry.Stop
		}
	default:
		return retry.Stop
	}
	undone := unsent(err) || ReasonOf(err) == ReasonOverloaded
	if !undone && c.spec.IdempotencyLevel == connect.IdempotencyUnknown {
		return retry.Stop
	}
	if pushedBack(c.info) < 0 || info.GetRetryDelay().AsDuration() < 0 {
		return retry.Stop
	}
	if repeated(c.ctx) && !errors.Is(err, discovery.ErrNoInstance) {
		giveUp(c.ctx)
		return retry.Stop
	}
	return retry.After(wait)
}

// noteEnd has the request that ctx serves answered with word that to repeat it
// is no use, if a call made for it was repeated in vain.
func noteEnd(ctx context.Context, a retry.Attempt) {
	switch a.Next {
	case retry.OutOfTries, retry.OutOfBudget, retry.OutOfTime:
		giveUp(ctx)
	}
}
