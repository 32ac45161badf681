package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	mercari "github.com/mercari/go-circuitbreaker"
	"github.com/sony/gobreaker/v2"
	"github.com/zeromicro/go-zero/core/breaker"
	"github.com/zeromicro/go-zero/core/logx"

	cleave "github.com/cleave-go/cleave/breaker"
)

func init() { logx.Disable() } // the peer's statistics would be printed into the table

// do calls f through a breaker.
type do func(ctx context.Context, f func(context.Context) error) error

// contender is a breaker in one configuration.
type contender struct {
	name string
	make func() do
}

// section is one question, answered by all that have the means.
type section struct {
	name       string
	open       bool // the breaker refuses
	failing    int  // one call of so many fails; 0: none
	contenders []contender
}

// All judge a failure rate of one half from 20 calls on, over the last 100 calls or over ten seconds in ten steps,
// except where their authors had another idea: mercari counts since the last reset, gobreaker "fixed" since the
// last second began, go-zero has no states and drops a share of the calls.
var sections = []section{
	{name: "count window, success", contenders: countPeers},
	{name: "time window, success", contenders: timePeers},
	{name: "time window, 1 of 100 fails", failing: 100, contenders: timePeers},
	{name: "open", open: true, contenders: []contender{
		cleaveWith("cleave", cleave.Options{}),
		{"gobreaker", gobreakerWith(10*time.Second, time.Second)},
		{"failsafe-go", failsafeExecutor(overTime)},
		{"failsafe-go, permits", failsafePermits(overTime)},
		{"mercari", mercariBreaker},
	}},
}

var countPeers = []contender{
	cleaveWith("cleave", cleave.Options{Window: cleave.Count(100)}),
	{"gobreaker, fixed", gobreakerWith(time.Second, 0)},
	{"failsafe-go", failsafeExecutor(overCount)},
	{"failsafe-go, permits", failsafePermits(overCount)},
	{"mercari", mercariBreaker},
}

var timePeers = []contender{
	cleaveWith("cleave", cleave.Options{}),
	cleaveWith("cleave, slow calls too", cleave.Options{SlowCall: time.Second}),
	{"gobreaker", gobreakerWith(10*time.Second, time.Second)},
	{"failsafe-go", failsafeExecutor(overTime)},
	{"failsafe-go, permits", failsafePermits(overTime)},
	{"go-zero", gozero},
}

func cleaveWith(name string, o cleave.Options) contender {
	return contender{name, func() do {
		o.OpenFor = func(int) time.Duration { return time.Hour }
		b, err := cleave.New(name, &o)
		if err != nil {
			return func(context.Context, func(context.Context) error) error { return err }
		}
		return b.Do
	}}
}

func gobreakerWith(interval, step time.Duration) func() do {
	return func() do {
		b := gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
			Timeout: time.Hour, Interval: interval, BucketPeriod: step, MaxRequests: 3,
			ReadyToTrip: func(c gobreaker.Counts) bool {
				return c.Requests >= 20 && float64(c.TotalFailures) >= .5*float64(c.Requests)
			},
		})
		return func(ctx context.Context, f func(context.Context) error) error {
			_, err := b.Execute(func() (struct{}, error) { return struct{}{}, f(ctx) })
			return err
		}
	}
}

func overCount() circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().WithFailureThresholdRatio(50, 100).WithDelay(time.Hour).Build()
}

func overTime() circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(.5, 20, 10*time.Second).WithDelay(time.Hour).Build()
}

func failsafeExecutor(make func() circuitbreaker.CircuitBreaker[any]) func() do {
	return func() do {
		executor := failsafe.With(make())
		return func(ctx context.Context, f func(context.Context) error) error {
			return executor.WithContext(ctx).Run(func() error { return f(ctx) })
		}
	}
}

// failsafePermits asks and reports by hand, without what its executor does for safety.
func failsafePermits(make func() circuitbreaker.CircuitBreaker[any]) func() do {
	return func() do {
		b := make()
		return func(ctx context.Context, f func(context.Context) error) error {
			if !b.TryAcquirePermit() {
				return circuitbreaker.ErrOpen
			}
			err := f(ctx)
			b.RecordError(err)
			return err
		}
	}
}

func gozero() do {
	b := breaker.NewBreaker()
	return func(ctx context.Context, f func(context.Context) error) error {
		return b.DoCtx(ctx, func() error { return f(ctx) })
	}
}

func mercariBreaker() do {
	b := mercari.New(mercari.WithTripFunc(mercari.NewTripFuncFailureRate(20, .5)), mercari.WithOpenTimeout(time.Hour),
		mercari.WithCounterResetInterval(10*time.Second))
	return func(ctx context.Context, f func(context.Context) error) error {
		_, err := b.Do(ctx, func() (any, error) { return nil, f(ctx) })
		return err
	}
}

var errDown = errors.New("down")

func succeed(context.Context) error { return nil }

// failOne returns a call of which one in n fails.
func failOne(n int) func(context.Context) error {
	if n == 0 {
		return succeed
	}
	var calls atomic.Uint64
	return func(context.Context) error {
		if calls.Add(1)%uint64(n) == 0 {
			return errDown
		}
		return nil
	}
}

// ready returns c in the section's state, and what to call through it.
func (s section) ready(c contender) (do, func(context.Context) error, error) {
	ctx, call := context.Background(), c.make()
	for range 200 {
		if s.open {
			_ = call(ctx, func(context.Context) error { return errDown })
		} else if err := call(ctx, succeed); err != nil {
			return nil, nil, err
		}
	}
	if err := call(ctx, succeed); (err != nil) != s.open {
		return nil, nil, errors.New(c.name + " is not in the state to be measured")
	}
	return call, failOne(s.failing), nil
}
