package limit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/limit"
)

func newKeyed[K comparable](t testing.TB, r limit.Rate, o *limit.Options) *limit.Keyed[K] {
	t.Helper()
	l, err := limit.NewKeyed[K](r, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAKeySpendsItsBurstAndEarnsItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newKeyed[string](t, limit.Rate{Events: 10, Per: time.Second, Burst: 3}, nil)
		for _, step := range []struct {
			sleep     time.Duration
			cost      int
			ok        bool
			after     time.Duration
			remaining int
		}{
			{0, 1, true, 0, 2},
			{0, 1, true, 0, 1},
			{0, 1, true, 0, 0},
			{0, 1, false, 100 * time.Millisecond, 0},
			{0, 1, false, 100 * time.Millisecond, 0}, // a refusal costs nothing
			{99 * time.Millisecond, 1, false, time.Millisecond, 0},
			{time.Millisecond, 1, true, 0, 0},
			{250 * time.Millisecond, 3, false, 50 * time.Millisecond, 2},
			{50 * time.Millisecond, 3, true, 0, 0},
			{time.Hour, 4, false, limit.Never, 3},
			{0, math.MaxInt, false, limit.Never, 3},
			{0, -1, true, 0, 2},
			{0, 2, true, 0, 0},
		} {
			time.Sleep(step.sleep)
			ok, after, remaining := l.AllowN("ann", step.cost)
			if ok != step.ok || after != step.after || remaining != step.remaining {
				t.Fatalf("step %+v: got %v, %v, %d", step, ok, after, remaining)
			}
		}
		if ok, _, remaining := l.Allow("bob"); !ok || remaining != 2 {
			t.Fatal("another key does not have its own allowance")
		}
	})
}

func TestNoSpanAdmitsMoreThanItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const burst = 5
		l := newKeyed[int](t, limit.Rate{Events: 20, Per: time.Second, Burst: burst}, nil)
		var admitted []time.Time
		for range 20_000 {
			if ok, _, _ := l.Allow(1); ok {
				admitted = append(admitted, time.Now())
			}
			time.Sleep(rand.N(20 * time.Millisecond))
		}
		for i := range admitted {
			for j := i; j < min(i+200, len(admitted)); j++ {
				span := admitted[j].Sub(admitted[i])
				if n := j - i + 1; float64(n) > burst+span.Seconds()*20+1e-6 {
					t.Fatalf("%d admitted within %v", n, span)
				}
			}
		}
		if rate := float64(len(admitted)) / time.Since(admitted[0]).Seconds(); rate < 19.5 {
			t.Fatalf("admitted %.1f/s under overload, want close to 20", rate)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	t.Run("under a flood of new keys", func(t *testing.T) {
		l := newKeyed[int](t, limit.Rate{Events: 1, Per: time.Hour}, &limit.Options{MaxKeys: 1000})
		for i := range 50_000 {
			if ok, _, _ := l.Allow(i); !ok {
				t.Fatalf("new key %d was refused", i)
			}
		}
		if n := l.Len(); n > 1008 {
			t.Fatalf("%d keys are kept", n)
		}
	})
	t.Run("by keys in use once the others have recovered", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newKeyed[int](t, limit.Rate{Events: 1, Per: time.Second}, nil)
			for i := range 100_000 {
				l.Allow(i)
				time.Sleep(time.Millisecond) // 1000 are in debt at a time
			}
			if n := l.Len(); n > 3000 {
				t.Fatalf("%d keys are kept", n)
			}
		})
	})
	t.Run("and a flood rarely frees the key in deepest debt", func(t *testing.T) {
		l := newKeyed[int](t, limit.Rate{Events: 1, Per: time.Hour, Burst: 100}, &limit.Options{MaxKeys: 1000})
		l.AllowN(-1, 100)
		for i := range 10_000 {
			l.Allow(i)
		}
		if ok, _, _ := l.Allow(-1); ok {
			t.Fatal("the key that used everything was forgotten before keys that used little")
		}
	})
}

func TestConcurrentCallersShareOneAllowance(t *testing.T) {
	l := newKeyed[string](t, limit.Rate{Events: 100, Per: time.Hour}, nil)
	var ok atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if admitted, _, _ := l.Allow("ann"); admitted {
					ok.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if ok.Load() != 100 {
		t.Fatalf("%d admitted, want 100", ok.Load())
	}
}

func TestNewKeyedRefusesWhatIsNoRate(t *testing.T) {
	for _, tt := range []struct {
		name string
		rate limit.Rate
		opts *limit.Options
	}{
		{"nothing", limit.Rate{}, nil},
		{"no time", limit.Rate{Events: 1}, nil},
		{"negative events", limit.Rate{Events: -1, Per: time.Second}, nil},
		{"negative burst", limit.Rate{Events: 1, Per: time.Second, Burst: -1}, nil},
		{"more than one event a nanosecond", limit.Rate{Events: 2, Per: 1}, nil},
		{"a burst that overflows", limit.Rate{Events: 1, Per: time.Hour, Burst: math.MaxInt}, nil},
		{"negative keys", limit.Rate{Events: 1, Per: 1}, &limit.Options{MaxKeys: -1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := limit.NewKeyed[string](tt.rate, tt.opts); err == nil {
				t.Fatal("no error")
			}
		})
	}
}

func TestAllowDoesNotAllocate(t *testing.T) {
	l := newKeyed[string](t, limit.Rate{Events: 1000, Per: time.Second}, nil)
	if n := testing.AllocsPerRun(1000, func() { l.Allow("ann") }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func ExampleKeyed_Allow() {
	l, err := limit.NewKeyed[string](limit.Rate{Events: 2, Per: time.Minute}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		ok, retryAfter, remaining := l.Allow("ann")
		fmt.Println(ok, retryAfter.Round(time.Second), remaining)
	}
	// Output:
	// true 0s 1
	// true 0s 0
	// false 30s 0
}

func BenchmarkAllow(b *testing.B) {
	rate := limit.Rate{Events: 1000, Per: time.Second}
	b.Run("one key", func(b *testing.B) {
		l := newKeyed[string](b, rate, nil)
		b.ReportAllocs()
		for b.Loop() {
			l.Allow("ann")
		}
	})
	b.Run("new keys", func(b *testing.B) {
		l := newKeyed[int](b, rate, nil)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			l.Allow(i)
		}
	})
}
