package rpi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/limit"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// pooled is an echo service that works on a few calls at a time.
type pooled struct {
	echoapi.UnimplementedEchoServiceHandler
	slots chan struct{}
	takes time.Duration
}

func (p *pooled) Echo(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	time.Sleep(p.takes)
	return &echoapi.EchoResponse{Text: rpi.CriticalityOf(ctx).String()}, nil
}

// shedding returns a server behind l.
func shedding(l *limit.Adaptive, o *rpi.ShedOptions, h echoapi.EchoServiceHandler) *connect.Server {
	s := rpi.NewServer(&rpi.ServerOptions{Logger: quiet, Interceptors: []connect.ServerInterceptor{rpi.Shed(l, o)}})
	echoapi.RegisterEchoServiceHandler(s, h)
	return s
}

func limiter(t testing.TB, o *limit.AdaptiveOptions) *limit.Adaptive {
	t.Helper()
	l, err := limit.NewAdaptive(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// full returns a limiter without a free slot.
func full(t *testing.T) *limit.Adaptive {
	t.Helper()
	l := limiter(t, &limit.AdaptiveOptions{Initial: 1, Min: 1, Max: 1, Queue: -1})
	if _, err := l.Acquire(t.Context(), "", limit.Critical); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAnOverloadedServerRefusesBeforeItReadsTheBody(t *testing.T) {
	server := httptest.NewServer(rpi.Handler(shedding(full(t), nil, &answering{})))
	defer server.Close()
	garbage := bytes.Repeat([]byte{0xff}, 1<<20) // is no message: to decode it would be invalid_argument
	res, err := http.Post(server.URL+"/cleave.rpi.echo.v1.EchoService/Echo", "application/proto", bytes.NewReader(garbage))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var said struct {
		Code    string `json:"code"`
		Details []struct {
			Type string `json:"type"`
		} `json:"details"`
	}
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	types := map[string]bool{}
	for _, d := range said.Details {
		types[d.Type] = true
	}
	if said.Code != "resource_exhausted" || !types["google.rpc.RetryInfo"] || !types["google.rpc.ErrorInfo"] {
		t.Errorf("got %s, %v", said.Code, types)
	}
}

func TestWhatIsShed(t *testing.T) {
	health := connect.Spec{Procedure: "/grpc.health.v1.Health/Check", StreamType: connect.StreamTypeUnary}
	call := connect.Spec{Procedure: "/a.B/C", StreamType: connect.StreamTypeUnary}
	stream := connect.Spec{Procedure: "/a.B/S", StreamType: connect.StreamTypeServer}
	exempt := &rpi.ShedOptions{Exempt: func(s connect.Spec) bool { return s.Procedure == "/a.B/C" }}
	for _, tt := range []struct {
		name string
		spec connect.Spec
		o    *rpi.ShedOptions
		shed bool
	}{
		{"a call", call, nil, true},
		{"a stream", stream, nil, true},
		{"a stream beside exempt calls", stream, exempt, true},
		{"not an exempt call", call, exempt, false},
		{"not a health check", health, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			served := false
			err := rpi.Shed(full(t), tt.o)(func(context.Context, connect.Spec, connect.ServerStream) error {
				served = true
				return nil
			})(t.Context(), tt.spec, nil)
			if served == tt.shed || (connect.CodeOf(err) == connect.CodeResourceExhausted) != tt.shed {
				t.Errorf("served: %v, %v", served, err)
			}
			if tt.shed && (rpi.ReasonOf(err) != rpi.ReasonOverloaded || !errors.Is(err, limit.ErrShed)) {
				t.Errorf("the reason is %q: %v", rpi.ReasonOf(err), err)
			}
		})
	}
}

func TestEveryEndGivesTheSlotBack(t *testing.T) {
	unary := connect.Spec{Procedure: "/a.B/C", StreamType: connect.StreamTypeUnary}
	stream := connect.Spec{Procedure: "/a.B/S", StreamType: connect.StreamTypeServer}
	for _, tt := range []struct {
		name  string
		spec  connect.Spec
		inUse int
		end   func() error
	}{
		{"an answer", unary, 1, func() error { return nil }},
		{"an error", unary, 1, func() error { return errors.New("no") }},
		{"a deadline", unary, 1, func() error { return connect.NewError(connect.CodeDeadlineExceeded, "") }},
		{"a panic", unary, 1, func() error { panic("no") }},
		{"the beginning of a stream", stream, 0, func() error { return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := limiter(t, nil)
			func() {
				defer func() { recover() }() // one of them panics
				_ = rpi.Shed(l, nil)(func(context.Context, connect.Spec, connect.ServerStream) error {
					if n := l.Stats().InUse; n != tt.inUse {
						t.Errorf("%d in use, want %d", n, tt.inUse)
					}
					return tt.end()
				})(t.Context(), tt.spec, nil)
			}()
			if n := l.Stats().InUse; n != 0 {
				t.Errorf("%d in use afterwards", n)
			}
		})
	}
}

// relaying asks another service for its answer.
type relaying struct {
	echoapi.UnimplementedEchoServiceHandler
	to echoapi.EchoServiceClient
}

func (r relaying) Echo(ctx context.Context, m *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	if m.GetText() == "later" {
		ctx = rpi.WithCriticality(ctx, limit.Sheddable)
	}
	return r.to.Echo(ctx, m)
}

func TestCriticalityTravelsWithTheCallsThatACallMakes(t *testing.T) {
	inner := shedding(limiter(t, nil), nil, &pooled{slots: make(chan struct{}, 1)})
	wire := httptest.NewServer(rpi.Handler(inner))
	defer wire.Close()
	for name, to := range map[string]connect.Transport{
		"local": rpi.Local(inner, nil),
		"wire":  rpi.Wire(connecthttp.NewTransport(wire.Client(), wire.URL), rpi.CallOptions{}),
	} {
		outer := rpi.NewServer(&rpi.ServerOptions{Logger: quiet})
		echoapi.RegisterEchoServiceHandler(outer, relaying{to: echoapi.NewEchoServiceClient(connect.NewClient(to))})
		client := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(outer, nil)))
		for _, tt := range []struct {
			ctx        context.Context
			text, want string
		}{
			{t.Context(), "", "default"},
			{rpi.WithCriticality(t.Context(), limit.Critical), "", "critical"},
			{rpi.WithCriticality(t.Context(), limit.Critical), "later", "sheddable"},
		} {
			res, err := client.Echo(tt.ctx, &echoapi.EchoRequest{Text: tt.text})
			if err != nil || res.GetText() != tt.want {
				t.Errorf("%s: got %q, %v, want %s", name, res.GetText(), err, tt.want)
			}
		}
	}
}

// offer sends calls at a steady rate, one in 25 of them critical and one in 5
// default, and returns how many of each were made and answered.
func offer(client echoapi.EchoServiceClient, every, span time.Duration) (made, answered [3]int64) {
	var m, a [3]atomic.Int64
	var calls sync.WaitGroup
	begin := time.Now()
	for i := 0; time.Since(begin) < span; i++ {
		p := limit.Sheddable
		switch {
		case i%25 == 0:
			p = limit.Critical
		case i%5 == 0:
			p = limit.Default
		}
		m[p].Add(1)
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(rpi.WithCriticality(context.Background(), p), 5*time.Second)
			defer cancel()
			if _, err := client.Echo(ctx, &echoapi.EchoRequest{}); err == nil {
				a[p].Add(1)
			}
		})
		time.Sleep(time.Until(begin.Add(time.Duration(i+1) * every)))
	}
	calls.Wait()
	for p := range made {
		made[p], answered[p] = m[p].Load(), a[p].Load()
	}
	return made, answered
}

func checkOverload(t *testing.T, made, answered [3]int64, span time.Duration, best float64) {
	t.Helper()
	goodput := float64(answered[0]+answered[1]+answered[2]) / span.Seconds()
	critical := float64(answered[limit.Critical]) / float64(made[limit.Critical])
	t.Logf("offered %.0f/s, goodput %.0f/s of %.0f, critical %.2f%% of %d, default %d of %d, sheddable %d of %d", float64(made[0]+made[1]+made[2])/span.Seconds(), goodput, best,
		100*critical, made[limit.Critical], answered[limit.Default], made[limit.Default], answered[limit.Sheddable], made[limit.Sheddable])
	if goodput < 0.9*best {
		t.Errorf("goodput is %.0f/s, want 90%% of %.0f", goodput, best)
	}
	if critical < 0.99 {
		t.Errorf("%.2f%% of the critical calls were answered, want 99%%", 100*critical)
	}
	if answered[limit.Sheddable]*2 > made[limit.Sheddable] {
		t.Errorf("%d of %d sheddable calls were not shed", answered[limit.Sheddable], made[limit.Sheddable])
	}
}

func TestTenTimesTheLoadIsServedAtCapacityAndTheCriticalFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const span = 5 * time.Second
		s := shedding(limiter(t, nil), nil, &pooled{slots: make(chan struct{}, 10), takes: 20 * time.Millisecond})
		made, answered := offer(echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(s, nil))), 200*time.Microsecond, span)
		checkOverload(t, made, answered, span, 500)
	})
}

// The same with the clock of the machine, which has to make the load, too; over
// HTTP/1.1 it can make three times the capacity and no more. What ten callers at
// a time get before is what the machine can do just now.
func BenchmarkOverload(b *testing.B) {
	const span = 20 * time.Second
	for _, bb := range []struct {
		name  string
		every time.Duration
		to    func(*testing.B, *connect.Server) connect.Transport
	}{
		{"local, 5000/s", 200 * time.Microsecond, func(_ *testing.B, s *connect.Server) connect.Transport { return rpi.Local(s, nil) }},
		{"grpcwire, 5000/s", 200 * time.Microsecond, overFastWire},
		{"HTTP/1.1, 1500/s", 667 * time.Microsecond, overHTTP},
	} {
		b.Run(bb.name, func(b *testing.B) {
			s := shedding(limiter(b, nil), nil, &pooled{slots: make(chan struct{}, 10), takes: 20 * time.Millisecond})
			client := echoapi.NewEchoServiceClient(connect.NewClient(bb.to(b, s)))
			for b.Loop() {
				best := capacity(b, client, 5*time.Second)
				made, answered := offer(client, bb.every, span)
				b.ReportMetric(best, "possible/s")
				b.ReportMetric(float64(answered[0]+answered[1]+answered[2])/span.Seconds(), "goodput/s")
				b.ReportMetric(100*float64(answered[limit.Critical])/float64(made[limit.Critical]), "%critical")
			}
		})
	}
}

func overHTTP(b *testing.B, s *connect.Server) connect.Transport {
	server := httptest.NewServer(rpi.Handler(s))
	carrier := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 256, MaxIdleConnsPerHost: 256}}
	b.Cleanup(func() { carrier.CloseIdleConnections(); server.Close() })
	return rpi.Wire(connecthttp.NewTransport(carrier, server.URL), rpi.CallOptions{})
}

func overFastWire(b *testing.B, s *connect.Server) connect.Transport {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- grpcwire.NewServer(s, nil).Serve(ctx, ln) }()
	wire := grpcwire.NewTransport(ln.Addr().String(), nil)
	b.Cleanup(func() {
		_ = wire.Close()
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return rpi.Wire(wire, rpi.CallOptions{})
}

// capacity is how many calls a second ten callers at a time get answered.
func capacity(t testing.TB, client echoapi.EchoServiceClient, span time.Duration) float64 {
	t.Helper()
	var calls sync.WaitGroup
	var answered atomic.Int64
	begin := time.Now()
	for range 10 {
		calls.Go(func() {
			for time.Since(begin) < span {
				if _, err := client.Echo(rpi.WithCriticality(context.Background(), limit.Critical), &echoapi.EchoRequest{}); err != nil {
					t.Error(err)
					return
				}
				answered.Add(1)
			}
		})
	}
	calls.Wait()
	return float64(answered.Load()) / span.Seconds()
}

func TestAThrottledCallerStopsSendingWhatIsRefused(t *testing.T) {
	throttle, err := limit.NewThrottle(nil)
	if err != nil {
		t.Fatal(err)
	}
	var arrived atomic.Int64
	s := rpi.NewServer(&rpi.ServerOptions{Logger: quiet, Interceptors: []connect.ServerInterceptor{
		func(next connect.ServerFunc) connect.ServerFunc {
			return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
				arrived.Add(1)
				return next(ctx, spec, stream)
			}
		}, rpi.Shed(full(t), nil),
	}})
	echoapi.RegisterEchoServiceHandler(s, &answering{})
	options := rpi.LocalOptions{Call: rpi.CallOptions{Interceptors: []connect.ClientInterceptor{rpi.Throttle(throttle)}}}
	client := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(s, &options)))
	throttled := 0
	for range 500 {
		_, err := client.Echo(t.Context(), &echoapi.EchoRequest{})
		if connect.CodeOf(err) != connect.CodeResourceExhausted {
			t.Fatal(err)
		}
		if rpi.ReasonOf(err) == rpi.ReasonThrottled {
			throttled++
		}
	}
	if n := arrived.Load(); int(n)+throttled != 500 || n > 150 {
		t.Errorf("%d of 500 calls were sent to a server that refuses all, %d throttled", n, throttled)
	}
	well := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(shedding(limiter(t, nil), nil, &answering{}), &options)))
	ctx := rpi.WithCriticality(t.Context(), limit.Critical) // counted apart
	for range 100 {
		if _, err := well.CountUp(ctx, &echoapi.EchoRequest{}); err != nil {
			t.Fatal(err)
		}
		if _, err := well.Store(ctx, &echoapi.EchoRequest{}); connect.CodeOf(err) != connect.CodeUnimplemented {
			t.Fatalf("an answer that is an error was taken for a refusal: %v", err)
		}
	}
}

// What a server spends on a call that it refuses, beside one that does nothing.
func BenchmarkRefusal(b *testing.B) {
	for _, tt := range []struct {
		name string
		most int
	}{{"refused", 1}, {"served", 100}} {
		b.Run(tt.name, func(b *testing.B) {
			l, err := limit.NewAdaptive(&limit.AdaptiveOptions{Initial: tt.most, Min: 1, Max: tt.most, Queue: -1})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := l.Acquire(b.Context(), "", limit.Critical); err != nil {
				b.Fatal(err)
			}
			handler := rpi.Handler(shedding(l, nil, &answering{}))
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/cleave.rpi.echo.v1.EchoService/Echo", strings.NewReader("\n\x01A"))
				r.Header.Set("Content-Type", "application/proto")
				handler.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}
