package retry_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/retry"
)

var errBusy = errors.New("busy")

func always(v retry.Verdict) func(error) retry.Verdict {
	return func(error) retry.Verdict { return v }
}

func TestDo(t *testing.T) {
	for _, tt := range []struct {
		name    string
		policy  *retry.Policy
		timeout time.Duration
		fails   int // how many attempts fail
		calls   int
		next    []retry.Next
	}{
		{"a success is not repeated", &retry.Policy{Retry: always(retry.Again)}, 0, 0, 1, nil},
		{"a passing failure is repeated", &retry.Policy{Retry: always(retry.Again)}, 0, 1, 2,
			[]retry.Next{retry.Repeats}},
		{"three attempts are the default", &retry.Policy{Retry: always(retry.Again)}, 0, 9, 3,
			[]retry.Next{retry.Repeats, retry.Repeats, retry.OutOfTries}},
		{"what the caller calls final is final", &retry.Policy{Retry: always(retry.Stop)}, 0, 9, 1,
			[]retry.Next{retry.NotRetryable}},
		{"without a judge nothing is repeated", &retry.Policy{}, 0, 9, 1, []retry.Next{retry.NotRetryable}},
		{"a hint beyond the deadline ends it at once", &retry.Policy{Retry: always(retry.After(time.Minute))},
			10 * time.Second, 9, 1, []retry.Next{retry.OutOfTime}},
		{"an immense hint does not overflow", &retry.Policy{Retry: always(retry.After(math.MaxInt64))},
			10 * time.Second, 9, 1, []retry.Next{retry.OutOfTime}},
		{"an empty budget ends it", &retry.Policy{Retry: always(retry.Again),
			Budget: &retry.Budget{Ratio: -1, PerSecond: -1}}, 0, 9, 1, []retry.Next{retry.OutOfBudget}},
		{"many attempts do not overflow the wait", &retry.Policy{Retry: always(retry.Again), Attempts: 90},
			0, 89, 90, slices.Repeat([]retry.Next{retry.Repeats}, 89)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.timeout)
					defer cancel()
				}
				var next []retry.Next
				tt.policy.OnRetry = func(a retry.Attempt) { next = append(next, a.Next) }
				calls := 0
				err := retry.Do(ctx, tt.policy, func(context.Context) error {
					if calls++; calls <= tt.fails {
						return errBusy
					}
					return nil
				})
				if calls != tt.calls || !slices.Equal(next, tt.next) {
					t.Errorf("%d calls, then %v; want %d, then %v", calls, next, tt.calls, tt.next)
				}
				if ok := calls > tt.fails; ok != (err == nil) || !ok && err != errBusy {
					t.Errorf("error %v is not the last call's", err)
				}
			})
		})
	}
}

func TestWaitsGrowWithinTheirBoundsAndAddToTheHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hint := 7 * time.Second
		p := &retry.Policy{
			Retry: always(retry.After(hint)), Attempts: 6,
			Backoff: 100 * time.Millisecond, MaxBackoff: 400 * time.Millisecond,
		}
		bounds := []time.Duration{100, 200, 400, 400, 400}
		for range 100 {
			var starts []time.Time
			_ = retry.Do(t.Context(), p, func(context.Context) error {
				starts = append(starts, time.Now())
				return errBusy
			})
			for i, bound := range bounds {
				got := starts[i+1].Sub(starts[i])
				if got < hint || got > hint+bound*time.Millisecond {
					t.Fatalf("wait %d was %v, want %v to %v more", i+1, got, hint, bound*time.Millisecond)
				}
			}
			time.Sleep(10 * time.Second)
		}
	})
}

func TestACancelEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var last retry.Attempt
		p := &retry.Policy{
			Retry:   always(retry.After(time.Hour)),
			OnRetry: func(a retry.Attempt) { last = a },
		}
		time.AfterFunc(time.Second, cancel)
		begin := time.Now()
		err := retry.Do(ctx, p, func(context.Context) error { return errBusy })
		if err != errBusy || last.Next != retry.Canceled || time.Since(begin) != time.Second {
			t.Fatalf("got %v and %v after %v", err, last.Next, time.Since(begin))
		}
		if err := retry.Do(ctx, p, func(context.Context) error { panic("called") }); err != context.Canceled {
			t.Fatalf("with an ended context: %v", err)
		}
	})
}

func TestAnAttemptHasItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &retry.Policy{Retry: always(retry.Again), PerAttempt: time.Second}
		calls := 0
		v, err := retry.Call(t.Context(), p, func(ctx context.Context) (string, error) {
			if calls++; calls == 1 {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return "served", nil
		})
		if v != "served" || err != nil || calls != 2 {
			t.Fatalf("got %q, %v after %d calls", v, err, calls)
		}
	})
}

func TestInAnOutageRetriesAreAFifthOfTheCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &retry.Budget{PerSecond: -1}
		p := &retry.Policy{Retry: always(retry.Again), Budget: b}
		const calls = 5000
		var mu sync.Mutex
		attempts := 0
		var wg sync.WaitGroup
		for range calls {
			wg.Go(func() {
				_ = retry.Do(t.Context(), p, func(context.Context) error {
					mu.Lock()
					defer mu.Unlock()
					attempts++
					return errBusy
				})
			})
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		if extra := float64(attempts-calls) / calls; extra > 0.2 || extra < 0.19 {
			t.Fatalf("retries were %.3f of the calls, want 0.2 at most and not much less", extra)
		}
	})
}

func TestABudgetRefills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b retry.Budget
		take := func() (n int) {
			for b.Retry() {
				n++
			}
			return n
		}
		if n := take(); n != 100 {
			t.Fatalf("granted %d retries without calls, want 10 a second of 10 s", n)
		}
		for range 50 {
			b.Call()
		}
		if n := take(); n != 10 {
			t.Fatalf("50 calls earned %d retries, want 10", n)
		}
		time.Sleep(9 * time.Second)
		if n := take(); n != 0 {
			t.Fatalf("granted %d retries within the window", n)
		}
		time.Sleep(time.Second)
		if n := take(); n != 100 {
			t.Fatalf("granted %d retries after the window, want 100", n)
		}
		time.Sleep(time.Hour)
		if n := take(); n != 100 {
			t.Fatalf("granted %d retries an hour later, want 100", n)
		}
	})
}

func BenchmarkDo(b *testing.B) {
	p := &retry.Policy{Retry: always(retry.Again)}
	b.ReportAllocs()
	for b.Loop() {
		_ = retry.Do(b.Context(), p, func(context.Context) error { return nil })
	}
}
