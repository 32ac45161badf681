package rpi_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cleave-go/cleave/breaker"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

// scripted answers each execution as the script says, and keeps what it saw.
type scripted struct {
	echoapi.UnimplementedEchoServiceHandler
	script func(ctx context.Context, n int) error

	mu   sync.Mutex
	seen []execution
}

type execution struct {
	at            time.Time
	attempt, call string
	remaining     time.Duration
}

func (s *scripted) Echo(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	info, _ := connect.CallInfoForServerContext(ctx)
	e := execution{at: time.Now(), attempt: info.RequestHeader().Get("Cleave-Attempt"), call: info.RequestHeader().Get("Cleave-Call")}
	if d, ok := ctx.Deadline(); ok {
		e.remaining = time.Until(d)
	}
	s.mu.Lock()
	s.seen = append(s.seen, e)
	n := len(s.seen)
	s.mu.Unlock()
	if err := s.script(ctx, n); err != nil {
		return nil, err
	}
	return &echoapi.EchoResponse{Number: int64(n)}, nil
}

func (s *scripted) Store(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return s.Echo(ctx, r)
}

func (s *scripted) Look(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return s.Echo(ctx, r)
}

func (s *scripted) executions() []execution {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

type echoCall func(echoapi.EchoServiceClient, context.Context) error

func with(f func(echoapi.EchoServiceClient, context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error)) echoCall {
	return func(c echoapi.EchoServiceClient, ctx context.Context) error {
		_, err := f(c, ctx, &echoapi.EchoRequest{Text: "x"})
		return err
	}
}

var (
	callEcho  = with(echoapi.EchoServiceClient.Echo)  // of unknown effect
	callStore = with(echoapi.EchoServiceClient.Store) // idempotent
	callLook  = with(echoapi.EchoServiceClient.Look)  // without side effects
)

func scriptedError(code connect.Code, details ...proto.Message) error {
	e := connect.NewError(code, "scripted")
	for _, m := range details {
		d, err := connectproto.NewErrorDetail(m)
		if err != nil {
			panic(err)
		}
		e = e.WithDetail(d)
	}
	return e
}

func after(d time.Duration) proto.Message {
	return &errdetails.RetryInfo{RetryDelay: durationpb.New(d)}
}

func TestWhatIsSentAgain(t *testing.T) {
	t.Parallel()
	once := func(err error) func(context.Context, int) error {
		return func(_ context.Context, n int) error {
			if n == 1 {
				return err
			}
			return nil
		}
	}
	hang := func(ctx context.Context, n int) error {
		if n == 1 {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	pushback := func(d time.Duration) func(context.Context, int) error {
		return func(ctx context.Context, n int) error {
			if n > 1 {
				return nil
			}
			rpi.Pushback(ctx, d)
			return scriptedError(connect.CodeUnavailable)
		}
	}
	overloaded := &errdetails.ErrorInfo{Reason: rpi.ReasonOverloaded}
	for _, tt := range []struct {
		name       string
		call       echoCall
		script     func(context.Context, int) error
		o          rpi.RemoteOptions
		executions int
		wait       time.Duration // at least, before the second
	}{
		{"unavailable, without side effects", callLook, once(scriptedError(connect.CodeUnavailable)), rpi.RemoteOptions{}, 2, 0},
		{"unavailable, idempotent", callStore, once(scriptedError(connect.CodeUnavailable)), rpi.RemoteOptions{}, 2, 0},
		{"unavailable, of unknown effect: no", callEcho, once(scriptedError(connect.CodeUnavailable)), rpi.RemoteOptions{}, 1, 0},
		{"always unavailable: three times", callLook, func(context.Context, int) error { return scriptedError(connect.CodeUnavailable) }, rpi.RemoteOptions{}, 3, 0},
		{"one attempt: no", callLook, once(scriptedError(connect.CodeUnavailable)), rpi.RemoteOptions{Attempts: 1}, 1, 0},
		{"internal: no", callLook, once(scriptedError(connect.CodeInternal)), rpi.RemoteOptions{}, 1, 0},
		{"the server's deadline: no", callLook, once(scriptedError(connect.CodeDeadlineExceeded)), rpi.RemoteOptions{}, 1, 0},
		{"exhausted: no", callLook, once(scriptedError(connect.CodeResourceExhausted)), rpi.RemoteOptions{}, 1, 0},
		{"exhausted with RetryInfo: after that time", callStore, once(scriptedError(connect.CodeResourceExhausted, after(60*time.Millisecond))), rpi.RemoteOptions{}, 2, 60 * time.Millisecond},
		{"exhausted with RetryInfo, of unknown effect: no", callEcho, once(scriptedError(connect.CodeResourceExhausted, after(time.Millisecond))), rpi.RemoteOptions{}, 1, 0},
		{"refused for overload, of unknown effect", callEcho, once(scriptedError(connect.CodeResourceExhausted, after(time.Millisecond), overloaded)), rpi.RemoteOptions{}, 2, 0},
		{"a negative RetryInfo: no", callLook, once(scriptedError(connect.CodeUnavailable, after(-time.Second))), rpi.RemoteOptions{}, 1, 0},
		{"pushed back for ever: no", callLook, pushback(-1), rpi.RemoteOptions{}, 1, 0},
		{"pushed back for a time: after that time", callLook, pushback(60 * time.Millisecond), rpi.RemoteOptions{}, 2, 60 * time.Millisecond},
		{"a try that takes too long, idempotent", callStore, hang, rpi.RemoteOptions{PerTry: 600 * time.Millisecond}, 2, 300 * time.Millisecond},
		{"a try that takes too long, of unknown effect: no", callEcho, hang, rpi.RemoteOptions{PerTry: 600 * time.Millisecond}, 1, 0},
	} {
		for protocol, o := range map[string]rpi.RemoteOptions{
			"Connect": {},
			"gRPC":    {Conns: rpi.ConnOptions{HTTP2: true}, Wire: []connecthttp.Option{connecthttp.WithGRPC()}},
		} {
			t.Run(tt.name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				s := &scripted{script: tt.script}
				o.Attempts, o.PerTry = tt.o.Attempts, tt.o.PerTry
				client, _ := remote(t, at(h2c(t, echoHandler(s), nil)), &o)
				err := tt.call(client, t.Context())
				seen := s.executions()
				if len(seen) != tt.executions || (err == nil) != (tt.executions == 2) {
					t.Fatalf("executed %d times, then %v; want %d times", len(seen), err, tt.executions)
				}
				if tt.executions == 2 {
					if waited := seen[1].at.Sub(seen[0].at); waited < tt.wait {
						t.Errorf("sent again after %v, want %v at least", waited, tt.wait)
					}
				}
			})
		}
	}
}

func TestATryCarriesItsNumberTheRemainingTimeAndTheNameOfItsCall(t *testing.T) {
	t.Parallel()
	s := &scripted{script: func(_ context.Context, n int) error {
		if n%2 == 1 {
			time.Sleep(50 * time.Millisecond) // of the call's time
			return scriptedError(connect.CodeUnavailable)
		}
		return nil
	}}
	client, _ := remote(t, at(h2c(t, echoHandler(s), nil)), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	ctx, info := connect.NewClientContext(ctx)
	for _, call := range []echoCall{callStore, callStore, callLook} {
		if err := call(client, ctx); err != nil {
			t.Fatal(err)
		}
		if h := info.RequestHeader(); h.Has("Cleave-Call") || h.Has("Cleave-Attempt") {
			t.Error("the caller's headers name the call that has ended")
		}
	}
	seen := s.executions()
	for i, want := range []string{"", "2", "", "2", "", "2"} {
		if seen[i].attempt != want {
			t.Errorf("request %d is marked %q, want %q", i, seen[i].attempt, want)
		}
	}
	if took := seen[0].remaining - seen[1].remaining; took < 50*time.Millisecond {
		t.Errorf("the second try has %v less than the first, want 50 ms at least", took)
	}
	if seen[0].call == "" || seen[0].call != seen[1].call || seen[2].call == seen[0].call || seen[2].call != seen[3].call {
		t.Errorf("two idempotent calls are named %q, %q and %q, %q", seen[0].call, seen[1].call, seen[2].call, seen[3].call)
	}
	if seen[4].call != "" {
		t.Errorf("a call without side effects is named %q", seen[4].call)
	}
}

func TestInstancesThatCannotBeReachedArePassedOverAtNoCharge(t *testing.T) {
	t.Parallel()
	s := &scripted{script: func(context.Context, int) error { return nil }}
	client, _ := remote(t, at(deadAddr(t), deadAddr(t), h2c(t, echoHandler(s), nil)), &rpi.RemoteOptions{Attempts: 1, Breaker: metricsOnly(t)})
	for range 30 {
		if err := callEcho(client, t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range s.executions() {
		if e.attempt != "" {
			t.Fatalf("a first try is marked as number %s", e.attempt)
		}
	}
}

func TestAHedgedCallIsAnsweredByWhoIsFaster(t *testing.T) {
	t.Parallel()
	var stuck, executed atomic.Int64
	leave := make(chan struct{})
	s := &scripted{script: func(context.Context, int) error {
		if executed.Add(1); stuck.Load() == 1 && stuck.CompareAndSwap(1, 2) {
			<-leave
		}
		return nil
	}}
	defer close(leave)
	client, _ := remote(t, at(h2c(t, echoHandler(s), nil), h2c(t, echoHandler(s), nil)), &rpi.RemoteOptions{Hedge: true})
	for range 64 {
		if err := callLook(client, t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stuck.Store(1)
	begin := time.Now()
	if err := callLook(client, t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 5*time.Second || stuck.Load() != 2 {
		t.Errorf("took %v, and one that hangs: %t; want an answer of the second", took, stuck.Load() == 2)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	stuck.Store(1)
	before := executed.Load()
	if err := callStore(client, ctx); connect.CodeOf(err) != connect.CodeDeadlineExceeded || executed.Load() != before+1 {
		t.Errorf("an idempotent call that hangs ended with %v after %d executions, want one", err, executed.Load()-before)
	}
}

// tier calls the next one; what it returns of a failure is its own error, so that
// nothing of the first is left but what the chain passes on.
type tier struct {
	echoapi.UnimplementedEchoServiceHandler
	next echoapi.EchoServiceClient
}

func (m tier) Look(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	res, err := m.next.Look(ctx, r)
	if err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, "the next tier is down")
	}
	return res, nil
}

func TestTriesDoNotMultiplyFromTierToTier(t *testing.T) {
	t.Parallel()
	calls := 2500
	long := os.Getenv("CLEAVE_LONG") != ""
	if long {
		calls = 20_000
	}
	bottom := &counting{}
	next := h2c(t, echoHandler(bottom), nil)
	var client echoapi.EchoServiceClient
	for range 3 {
		client, _ = remote(t, at(next), &rpi.RemoteOptions{Attempts: 3, Breaker: metricsOnly(t)})
		next = h2c(t, echoHandler(tier{next: client}), nil)
	}
	var left atomic.Int64
	left.Store(int64(calls))
	var callers sync.WaitGroup
	begin := time.Now()
	for range 32 {
		callers.Go(func() {
			for left.Add(-1) >= 0 {
				if err := callLook(client, t.Context()); connect.CodeOf(err) != connect.CodeUnavailable {
					t.Errorf("got %v, want unavailable", err)
				}
			}
		})
	}
	callers.Wait()
	load := float64(bottom.calls.Load()) / float64(calls)
	t.Logf("%d calls through three tiers of three attempts each: the bottom got %.3f times as many", calls, load)
	limit := 1.2 + 10*(10+time.Since(begin).Seconds())/float64(calls) // the budget of one tier
	if long {
		limit = 1.25
	}
	if load > limit {
		t.Errorf("the bottom got %.3f times the calls, want %.3f at most", load, limit)
	}
}

// counting is down, and counts who asks.
type counting struct {
	echoapi.UnimplementedEchoServiceHandler
	calls atomic.Int64
}

func (c *counting) Look(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	c.calls.Add(1)
	return nil, scriptedError(connect.CodeUnavailable)
}

func TestAnOpenBreakerIsFinalForAllTiers(t *testing.T) {
	t.Parallel()
	b := metricsOnly(t)
	b.SetMode(breaker.ForcedOpen)
	inner, _ := remote(t, at(deadAddr(t)), &rpi.RemoteOptions{Breaker: b})
	var asked atomic.Int64
	middle := &scripted{script: func(ctx context.Context, _ int) error {
		asked.Add(1)
		err := callLook(inner, ctx)
		if rpi.ReasonOf(err) != rpi.ReasonBreakerOpen {
			return errors.New("not refused by the breaker")
		}
		return scriptedError(connect.CodeUnavailable)
	}}
	client, _ := remote(t, at(h2c(t, echoHandler(middle), nil)), nil)
	if err := callLook(client, t.Context()); connect.CodeOf(err) != connect.CodeUnavailable || asked.Load() != 1 {
		t.Errorf("got %v after %d executions, want unavailable after one", err, asked.Load())
	}
}
