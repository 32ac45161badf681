package rpi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/retry"
)

// RoundTripper sends plain HTTP requests to the instances of a service, wherever
// they run, through the chain that Remote has for calls. It finds them while its
// Run runs.
//
// GET, HEAD, OPTIONS, TRACE, PUT and DELETE are retried when the connection is
// lost or the answer is 502, 503, 504, or 429 with a Retry-After, if their body
// can be read again (Request.GetBody); any other request only if no server can
// have begun to serve it, whatever headers it has. The host of a request's URL is
// replaced by the instance's address. Without a deadline an answer must begin
// within CallOptions.Timeout; its body may take longer.
//
// An answer of the last try is returned whatever its status. Errors are
// *connect.Error, with unavailable for what was lost or could not be sent.
type RoundTripper struct {
	t       *RemoteTransport
	timeout time.Duration // until the answer begins; 0: none
	spans   *spans
	watch   *stopwatch
}

var _ http.RoundTripper = (*RoundTripper)(nil)

// NewRoundTripper returns a round tripper to the instances of service that r
// names. Of o, Hedge, Wire, Errors and Interceptors do not matter to it.
func NewRoundTripper(service string, r discovery.Resolver, o *RemoteOptions) *RoundTripper {
	var call CallOptions
	if o != nil {
		call = o.Call
	}
	rt := &RoundTripper{
		t: Remote(service, r, o), timeout: max(call.Timeout, 0), spans: newSpans(call.Tracer, trace.SpanKindClient, "http"),
		watch: newStopwatch(call.Meter, "rpc.client.duration", "How long calls took, tries and waits included."),
	}
	if call.Timeout == 0 {
		rt.timeout = defaultTimeout
	}
	return rt
}

// Run follows the resolver until ctx ends.
func (rt *RoundTripper) Run(ctx context.Context) error { return rt.t.Run(ctx) }

// Remote returns the transport beneath, to look at its breaker and balancer.
func (rt *RoundTripper) Remote() *RemoteTransport { return rt.t }

// RoundTrip sends r and returns the answer to it.
func (rt *RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	spec := connect.Spec{Procedure: "/" + rt.t.service + "/" + r.Method, IdempotencyLevel: plainLevel(r)}
	begin := rt.watch.begin()
	ctx, span := rt.spans.start(traceOfMeta(r.Context()), spec)
	x := &exchange{rt: rt, r: r.Clone(ctx), spec: spec, consistency: consistencyOf(ctx)}
	x.stamp(ctx)
	res, err := x.run(ctx)
	if err != nil {
		closeBody(r)
	} else {
		res.Request = r
	}
	rt.watch.end(ctx, begin, spec, err)
	endSpan(span, err)
	return res, err
}

// plainLevel says what harm a request does if it is served twice.
func plainLevel(r *http.Request) connect.IdempotencyLevel {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return connect.IdempotencyNoSideEffects
	case http.MethodPut, http.MethodDelete:
		return connect.IdempotencyIdempotent
	}
	return connect.IdempotencyUnknown
}

// exchange is one request under way.
type exchange struct {
	rt          *RoundTripper
	r           *http.Request // ours
	spec        connect.Spec
	consistency *Consistency
	tried       []string // instances
	sendings    int
	last        *http.Response // that may be followed by another
}

// stamp writes what travels with a request.
func (x *exchange) stamp(ctx context.Context) {
	var h connect.Header
	for _, k := range []string{"Authorization", CorrelationHeader, attemptHeader} {
		if v := x.r.Header.Values(k); len(v) > 0 {
			h.SetValues(k, v)
		}
	}
	stamp(ctx, &h, x.consistency)
	if x.r.Header == nil {
		x.r.Header = http.Header{}
	}
	for k, v := range h.All() {
		x.r.Header[http.CanonicalHeaderKey(k)] = v
	}
}

func (x *exchange) run(ctx context.Context) (*http.Response, error) {
	t := x.rt.t
	if err := ctx.Err(); err != nil {
		return nil, contextError(err)
	}
	permit, err := t.breaker.Allow()
	if err != nil {
		giveUp(ctx)
		return nil, refused(t.service, err)
	}
	bounded := ctx
	if _, ok := ctx.Deadline(); !ok && x.rt.timeout > 0 {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, x.rt.timeout)
		defer cancel()
	}
	policy := &retry.Policy{
		Retry: x.verdict, Attempts: t.attempts, PerAttempt: t.perTry, Backoff: 30 * time.Millisecond, Budget: &t.budget,
		OnRetry: func(a retry.Attempt) { noteEnd(ctx, a) },
	}
	res, err := retry.Call(bounded, policy, x.attempt)
	permit.Done(ctx, err)
	if err == nil || x.last == nil {
		return res, err
	}
	if pushedBackPlain(x.last) < 0 {
		giveUp(ctx)
	}
	return x.last, nil // an answer after all, if not a good one
}

// attempt sends the request to an instance, or to the next if that cannot be
// reached.
func (x *exchange) attempt(ctx context.Context) (*http.Response, error) {
	x.drop()
	if x.sendings++; x.sendings > 1 {
		x.r.Header.Set(attemptHeader, strconv.Itoa(x.sendings))
	}
	picked, err := x.rt.t.pick(ctx, x.tried...)
	for n := 1; err == nil; n++ {
		x.tried = append(x.tried, picked.Instance.ID)
		var res *http.Response
		res, err = x.try(ctx, picked)
		if err == nil || n > elsewhere || !unsent(err) || ctx.Err() != nil || !x.rewindable() {
			return res, err
		}
		next, none := x.rt.t.balancer.Pick(x.tried...)
		if none != nil {
			return nil, err
		}
		picked, err = next, nil
	}
	return nil, err
}

func (x *exchange) rewindable() bool { return rewindable(x.r) }

// try sends the request to one instance.
func (x *exchange) try(ctx context.Context, picked *discovery.Picked) (_ *http.Response, err error) {
	_, span := x.rt.t.attempt(ctx, x.spec, picked.Instance.Addr, x.sendings)
	if span != nil {
		x.r.Header.Set(traceHeader, traceparent(span.SpanContext()))
		defer func() { endSpan(span, err) }()
	}
	send, ok := x.r, true
	if x.sendings > 1 || len(x.tried) > 1 {
		if send, ok = again(x.r); !ok {
			picked.Done(context.Canceled)
			return nil, connect.NewError(connect.CodeUnavailable, "the body of the request cannot be read again")
		}
	}
	// The answer's body may outlast ctx, which bounds only its beginning.
	open, cancel := context.WithCancel(x.r.Context())
	late := context.AfterFunc(ctx, cancel)
	begin := time.Now()
	res, err := x.rt.t.endpoint(picked.Instance).http.RoundTrip(x.addressed(send.WithContext(open), ctx, picked.Instance.Addr))
	if err == nil && !late() {
		res.Body.Close() // it is too late for it
		err = ctx.Err()
	}
	if err != nil {
		late()
		cancel()
		err = plainError(ctx, err)
		picked.Done(unwell(err))
		return nil, err
	}
	err = statusError(res)
	picked.Answered(time.Since(begin), unwell(err))
	x.gather(res)
	end := func() { picked.Done(nil); cancel() }
	if _, upgraded := res.Body.(io.Writer); res.Body == http.NoBody || upgraded {
		picked.Done(nil)
	} else {
		res.Body = &reported{ReadCloser: res.Body, end: end}
	}
	if err != nil {
		x.last = res
	}
	return res, err
}

// addressed returns r as sent to addr with the time that is left.
func (x *exchange) addressed(r *http.Request, ctx context.Context, addr string) *http.Request { // ctx is not r's
	u := *r.URL
	if r.Host == u.Host {
		r.Host = ""
	}
	u.Scheme, u.Host = x.rt.t.conns.scheme(), addr
	r.URL = &u
	const timeoutHeader = "Connect-Timeout-Ms" // which Connect servers read from plain requests, too
	if deadline, ok := ctx.Deadline(); ok && (x.sendings > 1 || r.Header.Get(timeoutHeader) == "") {
		r.Header = r.Header.Clone()
		r.Header.Set(timeoutHeader, strconv.FormatInt(max(time.Until(deadline).Milliseconds(), 1), 10))
	}
	return r
}

func (x *exchange) gather(res *http.Response) {
	if v := res.Header.Get(ConsistencyHeader); v != "" {
		var h connect.Header
		h.Set(ConsistencyHeader, v)
		x.consistency.gather(&h)
	}
}

// drop lets go of an answer that another follows.
func (x *exchange) drop() {
	if x.last != nil {
		io.CopyN(io.Discard, x.last.Body, 64<<10) // only to use the connection again
		x.last.Body.Close()                       // nobody reads it
		x.last = nil
	}
}

func (x *exchange) verdict(err error) retry.Verdict {
	wait := time.Duration(0)
	if info, ok := detail[*errdetails.RetryInfo](err); ok {
		wait = info.GetRetryDelay().AsDuration()
	}
	if x.last != nil {
		back := pushedBackPlain(x.last)
		if back < 0 {
			return retry.Stop
		}
		wait = max(wait, back)
	}
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeResourceExhausted:
	case connect.CodeDeadlineExceeded:
		if x.rt.t.perTry <= 0 {
			return retry.Stop
		}
	default:
		return retry.Stop
	}
	undone := unsent(err)
	if !undone && x.spec.IdempotencyLevel == connect.IdempotencyUnknown || !x.rewindable() {
		return retry.Stop
	}
	if repeated(x.r.Context()) && !errors.Is(err, discovery.ErrNoInstance) {
		giveUp(x.r.Context())
		return retry.Stop
	}
	return retry.After(wait)
}

// plainError gives the error of a request its code.
func plainError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return contextError(ctx.Err())
	}
	return connect.NewError(connect.CodeUnavailable, err.Error()).WithCause(err)
}

// statusError is nil for an answer that a second try would not better.
func statusError(res *http.Response) error {
	wait, hinted := retryAfter(res)
	code := connect.CodeUnavailable
	switch res.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	case http.StatusTooManyRequests:
		if code = connect.CodeResourceExhausted; !hinted {
			return nil
		}
	default:
		return nil
	}
	e := connect.NewError(code, fmt.Sprintf("the answer is %s", res.Status))
	if hinted {
		e = withDetail(e, &errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	}
	return e
}

// retryAfter reads when a server wants to be asked again.
func retryAfter(res *http.Response) (time.Duration, bool) {
	text := res.Header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0), true
	}
	return 0, false
}

func pushedBackPlain(res *http.Response) time.Duration {
	if v := res.Header.Get(pushbackHeader); v != "" {
		return parsePushback(v)
	}
	return parsePushback(res.Header.Get("Trailer-" + pushbackHeader)) // of Connect's unary calls
}

// reported is a body that reports its end.
type reported struct {
	io.ReadCloser
	once sync.Once
	end  func()
}

func (b *reported) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.once.Do(b.end)
	}
	return n, err
}

func (b *reported) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(b.end)
	return err
}
