package breaker_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/breaker"
)

func newGroup(t *testing.T, g *breaker.GroupOptions) *breaker.Group[string] {
	t.Helper()
	group, err := breaker.NewGroup[string](nil, g)
	if err != nil {
		t.Fatal(err)
	}
	return group
}

func TestAGroupHasOneBreakerPerKey(t *testing.T) {
	g := newGroup(t, nil)
	a := g.Get("a")
	if a.Name() != "a" || g.Get("a") != a || g.Get("b") == a {
		t.Fatal("the keys do not have one breaker each")
	}
	g.Get("a")
	if all := g.Breakers(); len(all) != 2 || all[0] != a {
		t.Fatalf("got %d breakers, want a and b", len(all))
	}
}

func TestAGroupIsBoundedAndSparesOpenBreakers(t *testing.T) {
	g := newGroup(t, &breaker.GroupOptions{MaxKeys: 10})
	sick := g.Get("sick")
	sick.Trip(time.Hour)
	for i := range 1000 {
		g.Get(fmt.Sprint(i))
		if n := len(g.Breakers()); n > 10 {
			t.Fatalf("%d breakers are kept", n)
		}
	}
	if g.Get("sick") != sick {
		t.Fatal("the open breaker was dropped though closed ones were there")
	}
	for i := range 1000 {
		g.Get(fmt.Sprint(i)).Trip(time.Hour)
	}
	if n := len(g.Breakers()); n > 10 {
		t.Fatalf("%d open breakers are kept", n)
	}
}

func TestAGroupForgetsIdleBreakers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, nil)
		for i := range 100 {
			g.Get(fmt.Sprint(i))
		}
		time.Sleep(16 * time.Minute)
		for i := range 60 {
			g.Get(fmt.Sprint("new ", i))
		}
		if n := len(g.Breakers()); n != 60 {
			t.Fatalf("%d breakers are kept, want the 60 in use", n)
		}
	})
}

func TestNewGroupRefusesNegativeBounds(t *testing.T) {
	for _, o := range []breaker.GroupOptions{{MaxKeys: -1}, {Idle: -1}} {
		if _, err := breaker.NewGroup[int](nil, &o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

func TestAnIdleBreakerHasNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	g := newGroup(t, nil)
	for i := range 100 {
		b := g.Get(fmt.Sprint(i))
		fail(b, 30)
		wantState(t, b, breaker.Open)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Fatalf("%d goroutines, %d before", n, before)
	}
}

func TestConcurrentUseKeepsCountAndOrder(t *testing.T) {
	t.Run("over a count", func(t *testing.T) { concurrently(t, breaker.Count(10)) })
	t.Run("over a time", func(t *testing.T) { concurrently(t, breaker.Time(10*time.Millisecond)) })
}

func concurrently(t *testing.T, window breaker.Window) {
	var mu sync.Mutex
	var last uint64
	var from breaker.State
	g, err := breaker.NewGroup[string](&breaker.Options{
		Window: window, MinCalls: 2, Probes: 1,
		OpenFor: func(int) time.Duration { return 1 },
		OnEvent: func(e breaker.Event) {
			if !mu.TryLock() {
				t.Error("two events at a time")
				return
			}
			defer mu.Unlock()
			if e.Seq <= last || e.Seq == last+1 && e.From != from {
				t.Errorf("event %d from %v after %d to %v", e.Seq, e.From, last, from)
			}
			last, from = e.Seq, e.To
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const workers, calls = 8, 3000
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range calls {
				b := g.Get("one")
				if (i+w)%3 == 0 {
					_ = call(b, errDown)
				} else {
					_ = call(b, nil)
				}
				if i%100 == 0 {
					b.Trip(time.Microsecond)
				}
			}
		})
	}
	wg.Wait()
	s := g.Get("one").Stats()
	if n := s.Succeeded + s.Failed + s.Late + s.Rejected; n != workers*calls {
		t.Fatalf("%d calls are accounted for, want %d: %+v", n, workers*calls, s)
	}
	if last == 0 || s.Openings == 0 {
		t.Fatal("nothing happened")
	}
}
