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

var errIgnored = errors.New("not found")

// newSteady: 20 s window, judged from 5 calls on, opens at half failed or half slower than 4 s,
// 4 probes within 1 s, errIgnored ignored.
func newSteady(t *testing.T, change func(*breaker.Options)) *breaker.Breaker {
	t.Helper()
	return newTrap(t, func(o *breaker.Options) {
		*o = breaker.Options{
			Window: breaker.Time(20 * time.Second), MinCalls: 5, FailureRate: .5,
			SlowCall: 4 * time.Second, SlowRate: .5, Probes: 4, ProbeTimeout: time.Second,
			OpenFor: func(n int) time.Duration {
				return time.Duration(5 * math.Pow(1.5, float64(n-1)) * float64(time.Second))
			},
			Classify: func(ctx context.Context, err error) breaker.Outcome {
				if err == errIgnored {
					return breaker.Ignored
				}
				return breaker.DefaultClassify(ctx, err)
			},
		}
		if change != nil {
			change(o)
		}
	})
}

// play runs a script, one word a step: "ok", "fail", "ignore", "slow" and "slowfail" (5 s each) are calls that
// must be admitted, "refused" is one that must not; a duration is slept; a state is expected; "unjudged" expects no
// rate yet.
func play(t *testing.T, b *breaker.Breaker, script string) {
	t.Helper()
	for i, word := range strings.Fields(script) {
		err, took := error(nil), time.Duration(0)
		switch word {
		case "closed", "open", "half-open":
			if got := b.State().String(); got != word {
				t.Fatalf("step %d: breaker is %s, want %s; %+v", i, got, word, b.Stats())
			}
			continue
		case "unjudged":
			if s := b.Stats(); s.FailureRate != -1 || s.SlowRate != -1 {
				t.Fatalf("step %d: rates are %v and %v, want -1", i, s.FailureRate, s.SlowRate)
			}
			continue
		case "refused":
			if err := call(b, nil); !errors.Is(err, breaker.ErrOpen) {
				t.Fatalf("step %d: the call was not refused: %v", i, err)
			}
			continue
		case "ok":
		case "slow":
			took = 5 * time.Second
		case "fail":
			err = errDown
		case "slowfail":
			err, took = errDown, 5*time.Second
		case "ignore":
			err = errIgnored
		default:
			d, perr := time.ParseDuration(word)
			if perr != nil {
				t.Fatal(perr)
			}
			time.Sleep(d)
			continue
		}
		p, refusal := b.Allow()
		if refusal != nil {
			t.Fatalf("step %d: %v", i, refusal)
		}
		time.Sleep(took)
		p.Done(t.Context(), err)
	}
}

func TestBehaviour(t *testing.T) {
	const five = "fail fail fail fail fail open "
	for _, tt := range []struct {
		name, script string
		change       func(*breaker.Options)
	}{
		{"nothing is judged before MinCalls, and a success may open", "fail fail fail ok unjudged closed ok open", nil},
		{"a rate just below its threshold keeps it closed", "ok ok ok fail fail closed fail open", nil},
		{"slow calls open it", "slow slow ok ok closed slow open", nil},
		{"a slow failure counts in both rates", "slowfail slowfail ok ok ok closed", nil},
		{"ignored errors are not counted", strings.Repeat("ignore ", 50) + "unjudged closed", nil},
		{"a time window forgets", "fail fail fail fail 20s ok ok ok ok ok closed", nil},
		{"a time window does not forget too early", "fail fail fail fail 17s ok open", nil},
		{"a time window forgets step by step", "ok ok ok ok 10s fail fail fail closed 10s fail ok open", nil},
		{"a count window forgets", "fail fail ok ok ok ok fail fail closed ok fail open",
			func(o *breaker.Options) { o.Window = breaker.Count(5); o.FailureRate = .6 }},
		{"a count window smaller than MinCalls is judged when full", "fail fail open",
			func(o *breaker.Options) { o.Window = breaker.Count(2) }},
		{"a failure rate of 1 needs every call to fail", "ok fail fail fail fail fail closed 20s " + five,
			func(o *breaker.Options) { o.FailureRate = 1 }},
		{"open until the time is over", five + "3s refused open 2s ok half-open", nil},
		{"three of four probes failing reopen it", five + "5s fail fail fail half-open ok open refused", nil},
		{"one of four probes failing closes it with a fresh window",
			five + "5s ok fail ok half-open ok closed unjudged fail fail fail fail closed fail open", nil},
		{"ignored probes do not decide", five + "5s ignore ignore ignore ignore half-open ok ok ok ok closed", nil},
		{"slow probes reopen it", five + "5s slow slow ok ok open",
			func(o *breaker.Options) { o.ProbeTimeout = time.Minute }},
		{"it stays open for longer each time", five + "5s fail fail fail fail open 6s refused open 1500ms ok half-open", nil},
		{"the time starts over once it has closed",
			five + "5s fail fail fail fail 7500ms ok ok ok ok closed " + five + "5s ok half-open", nil},
		{"few probes suffice when MinCalls is less", "fail fail open 5s ok ok closed",
			func(o *breaker.Options) { o.MinCalls = 2 }},
		{"slow traffic in half-open does not reopen it", five + "5s ok 1h ok 1h ok 1h half-open ok closed", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { play(t, newSteady(t, tt.change), tt.script) })
		})
	}
}

func TestAHangingProbeIsOneFailureAmongTheProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSteady(t, nil)
		fail(b, 5)
		time.Sleep(5 * time.Second)
		mustAllow(t, b)
		play(t, b, "ok ok ok half-open 1s closed")
	})
}

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

func TestTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTrap(t, nil)
		b.Trip(2 * time.Hour)
		b.Trip(time.Second) // does not shorten it
		play(t, b, "open 1h59m59s refused 1s ok closed")
		b.Trip(-time.Second)
		play(t, b, "open 1ms ok closed")
		b.SetMode(breaker.Disabled)
		b.Trip(time.Hour)
		play(t, b, "closed ok")
	})
}

func TestModes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		mode   breaker.Mode
		script string
		want   breaker.Totals
		events int
	}{
		{"disabled passes everything and counts nothing", breaker.Disabled,
			strings.Repeat("fail ", 20) + "closed unjudged", breaker.Totals{}, 1},
		{"forced open refuses for ever", breaker.ForcedOpen, "refused 1000h refused open",
			breaker.Totals{Rejected: 2}, 1},
		{"metrics only counts, passes everything and reports each excess once", breaker.MetricsOnly,
			strings.Repeat("fail ", 20) + "closed 20s " + strings.Repeat("ok ", 5) + strings.Repeat("fail ", 5),
			breaker.Totals{Succeeded: 5, Failed: 25}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				events := 0
				b := newSteady(t, func(o *breaker.Options) { o.OnEvent = func(breaker.Event) { events++ } })
				old := mustAllow(t, b)
				b.SetMode(tt.mode)
				play(t, b, tt.script)
				if s := b.Stats(); s.Totals != tt.want || s.Mode != tt.mode {
					t.Errorf("got %+v, want %+v", s, tt.want)
				}
				if events != tt.events {
					t.Errorf("%d events, want %d", events, tt.events)
				}
				b.SetMode(breaker.Auto)
				old.Done(t.Context(), errDown)
				play(t, b, "unjudged fail fail fail fail closed fail open")
			})
		})
	}
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
