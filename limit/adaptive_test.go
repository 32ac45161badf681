package limit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/limit"
)

// fixed is a limiter of exactly n slots.
func fixed(t testing.TB, n, queue int) *limit.Adaptive {
	return newAdaptive(t, &limit.AdaptiveOptions{Initial: n, Min: n, Max: n, Queue: queue, Wait: 50 * time.Millisecond, Probe: time.Hour})
}

func acquire(t *testing.T, l *limit.Adaptive, p limit.Priority) limit.Slot {
	t.Helper()
	s, err := l.Acquire(t.Context(), "", p)
	if err != nil {
		t.Fatalf("%v call: %v", p, err)
	}
	return s
}

func TestPrioritiesLeaveRoomForThoseAbove(t *testing.T) {
	for _, tt := range []struct{ slots, sheddable, standard, critical int }{
		{20, 15, 18, 20}, {10, 7, 9, 10}, {4, 3, 3, 4}, {2, 1, 1, 2}, {1, 1, 1, 1},
	} {
		l := fixed(t, tt.slots, -1)
		for _, step := range []struct {
			p    limit.Priority
			upTo int
		}{{limit.Sheddable, tt.sheddable}, {limit.Default, tt.standard}, {limit.Critical, tt.critical}} {
			for {
				if _, err := l.Acquire(t.Context(), "", step.p); err != nil {
					if err != limit.ErrShed {
						t.Fatal(err)
					}
					break
				}
			}
			if got := l.Stats().InUse; got != step.upTo {
				t.Errorf("of %d slots, %v calls fill up to %d, want %d", tt.slots, step.p, got, step.upTo)
			}
		}
	}
}

// queued starts a call that has to wait, and returns what will become of it.
func queued(ctx context.Context, l *limit.Adaptive, p limit.Priority, name string, log *[]string) {
	go func() {
		s, err := l.Acquire(ctx, "", p)
		switch {
		case err == nil:
			*log = append(*log, name)
			s.Done(limit.Ignored)
		case errors.Is(err, limit.ErrShed):
			*log = append(*log, name+" shed")
		default:
			*log = append(*log, name+" "+err.Error())
		}
	}()
	synctest.Wait()
}

func TestTheQueue(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, l *limit.Adaptive, held *limit.Slot, log *[]string)
		want string
	}{
		{"serves the critical first, and each in turn", func(t *testing.T, l *limit.Adaptive, held *limit.Slot, log *[]string) {
			queued(t.Context(), l, limit.Default, "a", log)
			queued(t.Context(), l, limit.Critical, "b", log)
			queued(t.Context(), l, limit.Critical, "c", log)
			held.Done(limit.Ignored)
		}, "[b c a]"},
		{"does not take sheddable calls", func(t *testing.T, l *limit.Adaptive, held *limit.Slot, log *[]string) {
			queued(t.Context(), l, limit.Sheddable, "a", log)
		}, "[a shed]"},
		{"gives up after the wait", func(t *testing.T, l *limit.Adaptive, held *limit.Slot, log *[]string) {
			queued(t.Context(), l, limit.Default, "a", log)
			time.Sleep(51 * time.Millisecond)
		}, "[a shed]"},
		{"gives up when the caller does", func(t *testing.T, l *limit.Adaptive, held *limit.Slot, log *[]string) {
			ctx, cancel := context.WithCancel(t.Context())
			queued(ctx, l, limit.Default, "a", log)
			cancel()
		}, "[a context canceled]"},
		{"refuses equals when it is full", func(t *testing.T, l *limit.Adaptive, held *limit.Slot, log *[]string) {
			for _, name := range []string{"a", "b", "c", "d"} {
				queued(t.Context(), l, limit.Default, name, log)
			}
			held.Done(limit.Ignored)
		}, "[d shed a b c]"},
		{"gives a critical call the place of the latest other", func(t *testing.T, l *limit.Adaptive, held *limit.Slot, log *[]string) {
			for _, name := range []string{"a", "b", "c"} {
				queued(t.Context(), l, limit.Default, name, log)
			}
			queued(t.Context(), l, limit.Critical, "d", log)
			held.Done(limit.Ignored)
		}, "[c shed d a b]"},
		{"refuses even critical calls when it is full of them", func(t *testing.T, l *limit.Adaptive, held *limit.Slot, log *[]string) {
			for _, name := range []string{"a", "b", "c", "d"} {
				queued(t.Context(), l, limit.Critical, name, log)
			}
			held.Done(limit.Ignored)
		}, "[d shed a b c]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := fixed(t, 1, 3)
				held := acquire(t, l, limit.Default)
				var log []string
				tt.do(t, l, &held, &log)
				synctest.Wait()
				if got := fmt.Sprint(log); got != tt.want {
					t.Errorf("got %v, want %v", got, tt.want)
				}
				held.Done(limit.Ignored)
				if s := l.Stats(); s.InUse != 0 || s.Waiting != 0 {
					t.Errorf("left behind: %+v", s)
				}
			})
		})
	}
}

func TestASlotIsGivenBackOnce(t *testing.T) {
	l := fixed(t, 2, -1)
	s := acquire(t, l, limit.Critical)
	acquire(t, l, limit.Critical)
	s.Done(limit.Served)
	s.Done(limit.Served)
	new(limit.Slot).Done(limit.Served)
	if n := l.Stats().InUse; n != 1 {
		t.Errorf("%d in use, want 1", n)
	}
}

func TestCallsThatDoNotEndInTimeLowerTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newAdaptive(t, &limit.AdaptiveOptions{Min: 4})
		for range 200 {
			var slots []limit.Slot
			for range 4 { // all that fit in the end
				slots = append(slots, acquire(t, l, limit.Critical))
			}
			time.Sleep(time.Second)
			for i := range slots {
				slots[i].Done(limit.Overran)
			}
		}
		if n := l.Stats().Limit; n > 5 {
			t.Errorf("the limit is %d, want close to the least, 4", n)
		}
	})
}

// The invariants of every moment, under whatever callers do.
func TestAMillionRandomStepsKeepTheBounds(t *testing.T) {
	l := newAdaptive(t, &limit.AdaptiveOptions{Initial: 5, Min: 2, Max: 50, Queue: -1, Probe: time.Millisecond})
	r := rand.New(rand.NewPCG(1, 2))
	var held []limit.Slot
	var admitted, shed uint64
	kinds := [...]string{"a", "b", "c"}
	for i := range 1_000_000 {
		if r.IntN(2) == 0 || len(held) == 0 {
			before := l.Stats()
			s, err := l.Acquire(t.Context(), kinds[r.IntN(3)], limit.Priority(r.IntN(4)))
			if err != nil {
				shed++
				if before.InUse == 0 {
					t.Fatalf("step %d: shed with nothing under way", i)
				}
			} else {
				admitted++
				held = append(held, s)
				if before.InUse >= before.Limit {
					t.Fatalf("step %d: admitted with %d of %d in use", i, before.InUse, before.Limit)
				}
			}
		} else {
			j := r.IntN(len(held))
			held[j].Done(limit.Outcome(r.IntN(3)))
			held = append(held[:j], held[j+1:]...)
		}
		s := l.Stats()
		if s.InUse != len(held) || s.Limit < 2 || s.Limit > 50 {
			t.Fatalf("step %d: %+v with %d held", i, s, len(held))
		}
	}
	s := l.Stats()
	if got := s.Admitted[0] + s.Admitted[1] + s.Admitted[2]; got != admitted {
		t.Errorf("admitted %d, counted %d", admitted, got)
	}
	if got := s.Shed[0] + s.Shed[1] + s.Shed[2]; got != shed {
		t.Errorf("shed %d, counted %d", shed, got)
	}
}

func TestConcurrentCallersNeverExceedTheLimit(t *testing.T) {
	l := fixed(t, 10, 5)
	var under, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for range 2000 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%3 == 0 {
					go cancel()
				}
				s, err := l.Acquire(ctx, "", limit.Priority(i%3))
				if err == nil {
					n := under.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					runtime.Gosched()
					under.Add(-1)
					s.Done(limit.Served)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if most.Load() > 10 {
		t.Errorf("%d were under way at once", most.Load())
	}
	if s := l.Stats(); s.InUse != 0 || s.Waiting != 0 {
		t.Errorf("left behind: %+v", s)
	}
}

func TestKindsBeyondABoundShareOneMeasure(t *testing.T) {
	l := newAdaptive(t, nil)
	for i := range 5000 {
		s, err := l.Acquire(t.Context(), fmt.Sprint(i), limit.Default)
		if err != nil {
			t.Fatal(err)
		}
		s.Done(limit.Served)
	}
	if n := limit.Kinds(l); n > 1025 {
		t.Errorf("%d kinds are kept", n)
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, o := range map[string]limit.AdaptiveOptions{
		"a negative minimum":      {Min: -1},
		"a maximum below":         {Min: 10, Max: 5},
		"a huge maximum":          {Max: math.MaxInt},
		"an initial limit above":  {Initial: 2000},
		"a huge queue":            {Queue: math.MaxInt},
		"a negative wait":         {Wait: -1},
		"a negative probe":        {Probe: -1},
		"a tolerance below 1":     {Tolerance: 0.5},
		"a tolerance that is NaN": {Tolerance: math.NaN()},
	} {
		if _, err := limit.NewAdaptive(&o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, o := range map[string]limit.ThrottleOptions{
		"a K below 1": {K: 0.9}, "a K that is NaN": {K: math.NaN()}, "a window of nothing": {Window: time.Nanosecond},
	} {
		if _, err := limit.NewThrottle(&o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPrioritiesHaveNames(t *testing.T) {
	for _, p := range []limit.Priority{limit.Default, limit.Critical, limit.Sheddable} {
		if got, ok := limit.ParsePriority(p.String()); !ok || got != p {
			t.Errorf("%v is parsed as %v, %v", p, got, ok)
		}
	}
	if p, ok := limit.ParsePriority("urgent"); ok || p != limit.Default {
		t.Errorf("an unknown name is %v, %v", p, ok)
	}
}

func TestAdmissionDoesNotAllocate(t *testing.T) {
	l := newAdaptive(t, nil)
	if n := testing.AllocsPerRun(1000, func() {
		s, err := l.Acquire(context.Background(), "kitchen", limit.Default)
		if err != nil {
			t.Fatal(err)
		}
		s.Done(limit.Served)
	}); n != 0 {
		t.Errorf("%v allocations to admit", n)
	}
	full := fixed(t, 1, -1)
	acquire(t, full, limit.Default)
	if n := testing.AllocsPerRun(1000, func() { full.Acquire(context.Background(), "", limit.Default) }); n != 0 { // refused
		t.Errorf("%v allocations to refuse", n)
	}
	th, err := limit.NewThrottle(nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { th.Allow(limit.Default) }); n != 0 {
		t.Errorf("%v allocations to throttle", n)
	}
}

func ExampleAdaptive() {
	l, err := limit.NewAdaptive(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	slot, err := l.Acquire(context.Background(), "kitchen.Accept", limit.Default)
	if err != nil {
		fmt.Println("503, Retry-After: 1") // errors.Is(err, limit.ErrShed)
		return
	}
	defer slot.Done(limit.Ignored) // after a panic; a second Done does nothing
	// … the work …
	slot.Done(limit.Served)
	fmt.Println(l.Stats().InUse, "of", l.Stats().Limit)
	// Output: 0 of 20
}

func BenchmarkAdaptive(b *testing.B) {
	ctx := context.Background()
	b.Run("admit", func(b *testing.B) {
		l := newAdaptive(b, nil)
		b.ReportAllocs()
		for b.Loop() {
			s, _ := l.Acquire(ctx, "kitchen", limit.Default)
			s.Done(limit.Served)
		}
	})
	b.Run("admit, parallel", func(b *testing.B) {
		l := newAdaptive(b, nil)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				s, _ := l.Acquire(ctx, "kitchen", limit.Default)
				s.Done(limit.Served)
			}
		})
	})
	b.Run("refuse", func(b *testing.B) {
		l := fixed(b, 1, -1)
		if _, err := l.Acquire(ctx, "", limit.Default); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			l.Acquire(ctx, "", limit.Sheddable) // refused
		}
	})
}

func BenchmarkThrottle(b *testing.B) {
	th, err := limit.NewThrottle(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if th.Allow(limit.Default) {
			th.Accepted(limit.Default)
		}
	}
}
