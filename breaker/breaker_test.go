package breaker_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/breaker"
)

func TestRetryAfterCountsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTrap(t, nil)
		fail(b, 5)
		var open *breaker.OpenError
		if err := call(b, nil); !errors.As(err, &open) || open.RetryAfter() != 5*time.Second {
			t.Fatalf("got %v", err)
		}
		time.Sleep(2 * time.Second)
		if d := open.RetryAfter(); d != 3*time.Second {
			t.Fatalf("2 s later it says %v", d)
		}
		time.Sleep(open.RetryAfter())
		mustAllow(t, b)
		if err := call(b, nil); !errors.As(err, &open) || open.State != breaker.HalfOpen || open.RetryAfter() != 0 {
			t.Fatalf("while a probe runs: %v", err)
		}
	})
}

func TestDoAnEndedContextCallsNothing(t *testing.T) {
	b := newTrap(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := b.Do(ctx, func(context.Context) error { panic("called") })
	if err != context.Canceled || b.Stats().Totals != (breaker.Totals{}) {
		t.Fatalf("got %v and %+v", err, b.Stats())
	}
}

func TestADeadlineThatPassesIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTrap(t, nil)
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_ = b.Do(ctx, func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			})
			cancel()
		}
		wantState(t, b, breaker.Open)
	})
}

func TestOnlyTheFirstReportOfAPermitCounts(t *testing.T) {
	b := newTrap(t, nil)
	p := mustAllow(t, b)
	for range 10 {
		p.Done(t.Context(), errDown)
	}
	if s := b.Stats(); s.Failed != 1 || s.Calls != 1 {
		t.Fatalf("got %+v", s)
	}
	new(breaker.Permit).Done(t.Context(), errDown)
}

func TestAClassifierThatPanicsIsAFailure(t *testing.T) {
	b := newTrap(t, func(o *breaker.Options) {
		o.Classify = func(context.Context, error) breaker.Outcome { panic("boom") }
	})
	for range 5 {
		func() {
			defer func() { _ = recover() }()
			_ = call(b, nil)
		}()
	}
	wantState(t, b, breaker.Open)
}

func TestNewRefusesWhatMakesNoSense(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts breaker.Options
	}{
		{"an empty count window", breaker.Options{Window: breaker.Count(0)}},
		{"a count window of a million", breaker.Options{Window: breaker.Count(1_000_000)}},
		{"a negative time window", breaker.Options{Window: breaker.Time(-1)}},
		{"a time window of nothing", breaker.Options{Window: breaker.Time(0)}},
		{"negative MinCalls", breaker.Options{MinCalls: -1}},
		{"a negative failure rate", breaker.Options{FailureRate: -.1}},
		{"a failure rate in percent", breaker.Options{FailureRate: 50}},
		{"a failure rate that is no number", breaker.Options{FailureRate: math.NaN()}},
		{"a slow rate in percent", breaker.Options{SlowRate: 50}},
		{"a negative SlowCall", breaker.Options{SlowCall: -1}},
		{"negative Probes", breaker.Options{Probes: -1}},
		{"a negative ProbeTimeout", breaker.Options{ProbeTimeout: -1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := breaker.New("x", &tt.opts); err == nil {
				t.Fatal("no error")
			}
			if _, err := breaker.NewGroup[string](&tt.opts, nil); err == nil {
				t.Fatal("no error from NewGroup")
			}
		})
	}
}

func TestOpenTimesAreKeptWithinReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, d := range []time.Duration{math.MinInt64, 0, math.MaxInt64} {
			b := newTrap(t, func(o *breaker.Options) { o.OpenFor = func(int) time.Duration { return d } })
			fail(b, 5)
			wantState(t, b, breaker.Open)
			var open *breaker.OpenError
			if err := call(b, nil); !errors.As(err, &open) || open.RetryAfter() <= 0 {
				t.Fatalf("OpenFor %v: got %v", d, err)
			}
		}
	})
}

func TestNothingAllocates(t *testing.T) {
	for _, tt := range []struct {
		name string
		trip bool
	}{{"closed", false}, {"open", true}} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := breaker.New("x", &breaker.Options{SlowCall: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if tt.trip {
				b.Trip(time.Hour)
			}
			ok := func(context.Context) error { return nil }
			value := func(context.Context) (int, error) { return 0, nil }
			if n := testing.AllocsPerRun(1000, func() {
				_ = b.Do(t.Context(), ok)
				_, _ = breaker.Call(t.Context(), b, value)
			}); n != 0 {
				t.Fatalf("%v allocations", n)
			}
		})
	}
}

func TestEventsTellTheStoryInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		begin := time.Now()
		b := newSteady(t, func(o *breaker.Options) {
			o.OnEvent = func(e breaker.Event) {
				got = append(got, strings.Join([]string{
					e.At.Sub(begin).String(), e.Breaker, e.From.String(), e.To.String(), string(e.Reason)}, " "))
				if int(e.Seq) != len(got) {
					t.Errorf("event %d has Seq %d", len(got), e.Seq)
				}
			}
		})
		play(t, b, "fail fail fail fail fail 5s ok")
		mustAllow(t, b)
		mustAllow(t, b)
		mustAllow(t, b)
		time.Sleep(time.Hour) // three probes hang: it reopened an hour ago
		play(t, b, "open ok ok ok ok closed slow slow slow ok ok open")
		b.Reset()
		b.Trip(time.Minute)
		b.SetMode(breaker.ForcedOpen)
		want := []string{
			"0s trap closed open too many failures",
			"5s trap open half-open open time elapsed",
			"6s trap half-open open too many failures",
			"1h0m5s trap open half-open open time elapsed",
			"1h0m5s trap half-open closed probes passed",
			"1h0m20s trap closed open too many slow",
			"1h0m20s trap open closed reset by Reset",
			"1h0m20s trap closed open tripped by Trip",
			"1h0m20s trap open open changed by SetMode",
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}
