package breaker_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/breaker"
)

var errDown = errors.New("down")

// newTrap opens after 5 failures, stays open 5 s and then lets one probe through.
func newTrap(t *testing.T, change func(*breaker.Options)) *breaker.Breaker {
	t.Helper()
	o := &breaker.Options{
		Window: breaker.Count(5), MinCalls: 5, FailureRate: 1, Probes: 1,
		OpenFor: func(int) time.Duration { return 5 * time.Second },
	}
	if change != nil {
		change(o)
	}
	b, err := breaker.New("trap", o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func call(b *breaker.Breaker, err error) error {
	return b.Do(context.Background(), func(context.Context) error { return err })
}

func fail(b *breaker.Breaker, times int) {
	for range times {
		_ = call(b, errDown)
	}
}

// halfOpen opens b and waits until its next call is a probe.
func halfOpen(t *testing.T, b *breaker.Breaker) {
	t.Helper()
	fail(b, 5)
	wantState(t, b, breaker.Open)
	time.Sleep(5 * time.Second)
}

func wantState(t *testing.T, b *breaker.Breaker, want breaker.State) {
	t.Helper()
	if got := b.State(); got != want {
		t.Fatalf("breaker is %v, want %v; %+v", got, want, b.Stats())
	}
}

func mustAllow(t *testing.T, b *breaker.Breaker) breaker.Permit {
	t.Helper()
	p, err := b.Allow()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Each row is a fault that at least one widely used breaker has.
func TestTraps(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"of a herd of 50 callers in half-open exactly one runs", herd},
		{"a probe that panics is a failure and the breaker still works", probePanics},
		{"a probe that ends its goroutine is a failure and its place is free", probeGoexits},
		{"a probe that hangs frees the breaker", probeHangs},
		{"a failure of a call begun while closed does not reopen a half-open breaker", staleFailure},
		{"a success of a call begun while closed does not close a half-open breaker", staleSuccess},
		{"a success of a call begun while closed does not close an open breaker", staleSuccessInOpen},
		{"callers that cancel do not open the breaker", callersCancel},
		{"a listener may call back into the breaker", listenerCallsBack},
		{"refused calls are not counted as failures", refusalsDoNotCount},
		{"a hanging probe that ends late has no say", hungProbeEndsLate},
	} {
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, tt.run) })
	}
}

func herd(t *testing.T) {
	b := newTrap(t, nil)
	halfOpen(t, b)
	var mu sync.Mutex
	var ran, refused int
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			err := b.Do(t.Context(), func(context.Context) error {
				mu.Lock()
				ran++
				mu.Unlock()
				time.Sleep(time.Second)
				return nil
			})
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, breaker.ErrOpen) {
				refused++
			}
		})
	}
	wg.Wait()
	if ran != 1 || refused != 49 {
		t.Fatalf("%d ran and %d were refused, want 1 and 49", ran, refused)
	}
	wantState(t, b, breaker.Closed)
}

func probePanics(t *testing.T) {
	b := newTrap(t, nil)
	halfOpen(t, b)
	func() {
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("the panic did not pass through: %v", r)
			}
		}()
		_ = b.Do(t.Context(), func(context.Context) error { panic("boom") })
	}()
	wantState(t, b, breaker.Open)
	time.Sleep(10 * time.Minute)
	if err := call(b, nil); err != nil {
		t.Fatal(err)
	}
	wantState(t, b, breaker.Closed)
}

func probeGoexits(t *testing.T) {
	b := newTrap(t, nil)
	halfOpen(t, b)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = breaker.Call(t.Context(), b, func(context.Context) (int, error) {
			runtime.Goexit()
			return 0, nil
		})
	})
	wg.Wait()
	wantState(t, b, breaker.Open)
	time.Sleep(5 * time.Second)
	if err := call(b, nil); err != nil {
		t.Fatal(err)
	}
	wantState(t, b, breaker.Closed)
}

func probeHangs(t *testing.T) {
	b := newTrap(t, nil)
	halfOpen(t, b)
	mustAllow(t, b)
	time.Sleep(5*time.Second - 1)
	wantState(t, b, breaker.HalfOpen)
	time.Sleep(time.Nanosecond)
	wantState(t, b, breaker.Open)
	time.Sleep(5 * time.Second)
	mustAllow(t, b) // this one hangs, too, and nobody looks for an hour
	time.Sleep(time.Hour)
	if err := call(b, nil); err != nil {
		t.Fatalf("an hour later: %v", err)
	}
	wantState(t, b, breaker.Closed)
}

func staleFailure(t *testing.T) {
	b := newTrap(t, nil)
	old := mustAllow(t, b)
	halfOpen(t, b)
	probe := mustAllow(t, b)
	old.Done(t.Context(), errDown)
	wantState(t, b, breaker.HalfOpen)
	probe.Done(t.Context(), nil)
	wantState(t, b, breaker.Closed)
	if s := b.Stats(); s.Late != 1 {
		t.Fatalf("%d late results, want 1", s.Late)
	}
}

func staleSuccess(t *testing.T) {
	b := newTrap(t, nil)
	old := mustAllow(t, b)
	halfOpen(t, b)
	probe := mustAllow(t, b)
	old.Done(t.Context(), nil)
	wantState(t, b, breaker.HalfOpen)
	probe.Done(t.Context(), errDown)
	wantState(t, b, breaker.Open)
}

func staleSuccessInOpen(t *testing.T) {
	b := newTrap(t, nil)
	old := mustAllow(t, b)
	fail(b, 5)
	old.Done(t.Context(), nil)
	wantState(t, b, breaker.Open)
}

func callersCancel(t *testing.T) {
	b, err := breaker.New("default", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		_ = b.Do(ctx, func(ctx context.Context) error {
			cancel()
			return ctx.Err()
		})
	}
	wantState(t, b, breaker.Closed)
	if s := b.Stats(); s.Ignored != 20 || s.Failed != 0 {
		t.Fatalf("got %+v, want 20 ignored", s)
	}
}

func listenerCallsBack(t *testing.T) {
	var b *breaker.Breaker
	var seen []string
	b = newTrap(t, func(o *breaker.Options) {
		o.OnEvent = func(e breaker.Event) {
			seen = append(seen, e.To.String()+" "+b.State().String())
			_ = b.Stats()
			if e.To == breaker.Open {
				b.Reset()
			}
		}
	})
	fail(b, 5)
	if want := []string{"open open", "closed closed"}; !slices.Equal(seen, want) {
		t.Fatalf("the listener saw %q, want %q", seen, want)
	}
}

func refusalsDoNotCount(t *testing.T) {
	b := newTrap(t, nil)
	fail(b, 5)
	fail(b, 1000)
	if s := b.Stats(); s.Failed != 5 || s.Rejected != 1000 {
		t.Fatalf("%d failed and %d rejected, want 5 and 1000", s.Failed, s.Rejected)
	}
	time.Sleep(5 * time.Second)
	if err := call(b, nil); err != nil {
		t.Fatal(err)
	}
	wantState(t, b, breaker.Closed)
}

func hungProbeEndsLate(t *testing.T) {
	b := newTrap(t, nil)
	halfOpen(t, b)
	hung := mustAllow(t, b)
	time.Sleep(10 * time.Second)
	probe := mustAllow(t, b)
	hung.Done(t.Context(), errDown)
	wantState(t, b, breaker.HalfOpen)
	probe.Done(t.Context(), nil)
	wantState(t, b, breaker.Closed)
}
