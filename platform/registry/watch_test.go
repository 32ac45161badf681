package registry_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/platform/registry"
)

func subscribe(t *testing.T, s *registry.Store, name string, services ...string) *registry.Watcher {
	t.Helper()
	w, err := s.Subscribe(name, services...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// next returns what a watcher is told now, as "service:instances" in a row, and the revision; "-" when it
// is told nothing.
func next(t *testing.T, w *registry.Watcher) (string, uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	revision, changed, err := w.Next(ctx)
	if err != nil {
		return "-", 0
	}
	var parts []string
	for _, s := range changed {
		parts = append(parts, fmt.Sprintf("%s:%d", s.Service, len(s.Instances)))
	}
	return strings.Join(parts, " "), revision
}

func TestAWatchTellsOnlyWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(&probed{})
		register(t, s, 0, instance("kitchen", 1), instance("order", 1))
		all, kitchen, future := subscribe(t, s, "all"), subscribe(t, s, "k", "kitchen"), subscribe(t, s, "f", "future")
		steps := []struct {
			name                 string
			do                   func()
			all, kitchen, future string
		}{
			{"at first, the present state", func() {}, "kitchen:1 order:1", "kitchen:1", "future:0"},
			{"nothing happened", func() {}, "-", "-", "-"},
			{"another service changes", func() { register(t, s, 0, instance("order", 2)) }, "order:2", "-", "-"},
			{"the same again is no change", func() { register(t, s, 0, instance("order", 2)) }, "-", "-", "-"},
			{"a beat is no change", func() { s.Renew(key(instance("kitchen", 1))) }, "-", "-", "-"},
			{"a status changes", func() { s.SetStatus(key(instance("kitchen", 1)), discovery.Draining) }, "kitchen:1", "kitchen:1", "-"},
			{"several changes are one state", func() {
				register(t, s, 0, instance("kitchen", 2), instance("kitchen", 3))
				s.Deregister(key(instance("kitchen", 1)))
			}, "kitchen:2", "kitchen:2", "-"},
			{"a service appears that was waited for", func() { register(t, s, 0, instance("future", 1)) }, "future:1", "-", "future:1"},
			{"removing nobody is no change", func() { s.Deregister(key(instance("future", 9))) }, "-", "-", "-"},
		}
		for _, step := range steps {
			step.do()
			for _, w := range []struct {
				name string
				w    *registry.Watcher
				want string
			}{{"all", all, step.all}, {"kitchen", kitchen, step.kitchen}, {"future", future, step.future}} {
				if got, _ := next(t, w.w); got != w.want {
					t.Errorf("%s: the watcher of %s was told %q, want %q", step.name, w.name, got, w.want)
				}
			}
		}
	})
}

func TestTheDrainBarrierWaitsForEveryLiveWatcher(t *testing.T) {
	tests := []struct {
		name string
		// do gets two watchers of the service that were told of the change, and its revision.
		do       func(a, b *registry.Watcher, revision uint64)
		waiting  []string
		at, most time.Duration
	}{
		{"both acknowledge", func(a, b *registry.Watcher, r uint64) {
			time.Sleep(100 * time.Millisecond)
			a.Ack(r)
			time.Sleep(200 * time.Millisecond)
			b.Ack(r)
		}, nil, 300 * time.Millisecond, 2 * time.Second},
		{"one ends", func(a, b *registry.Watcher, r uint64) {
			a.Ack(r)
			time.Sleep(100 * time.Millisecond)
			b.Close()
		}, nil, 100 * time.Millisecond, 2 * time.Second},
		{"one lags", func(a, b *registry.Watcher, r uint64) { a.Ack(r) }, []string{"b"}, 2 * time.Second, time.Hour},
		{"an old acknowledgement does not count", func(a, b *registry.Watcher, r uint64) {
			a.Ack(r)
			b.Ack(r - 1)
		}, []string{"b"}, 2 * time.Second, 2 * time.Second},
		{"one of the future is one of the present", func(a, b *registry.Watcher, r uint64) {
			a.Ack(r + 100)
			b.Ack(r + 100)
		}, nil, 0, 2 * time.Second},
		{"less patience", func(a, b *registry.Watcher, r uint64) {}, []string{"a", "b"}, 50 * time.Millisecond, 50 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(&probed{})
				register(t, s, 0, instance("kitchen", 1))
				a, b := subscribe(t, s, "a", "kitchen"), subscribe(t, s, "b")
				subscribe(t, s, "unconcerned", "order")
				for _, w := range []*registry.Watcher{a, b} {
					_, r := next(t, w)
					w.Ack(r)
				}
				snapshot := s.Deregister(key(instance("kitchen", 1)))
				subscribe(t, s, "came later and knows", "kitchen")
				begin := time.Now()
				go tt.do(a, b, snapshot.Revision)
				waiting := s.Await(t.Context(), "kitchen", snapshot.Revision, tt.most)
				if !slices.Equal(waiting, tt.waiting) || time.Since(begin) != tt.at {
					t.Errorf("waited for %v during %v, want %v during %v", waiting, time.Since(begin), tt.waiting, tt.at)
				}
			})
		})
	}
}

func TestAResolverWithinTheProcessTakesPartInTheBarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(&probed{})
		register(t, s, 0, instance("kitchen", 1))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for snapshot := range s.Resolver("slow router").Watch(ctx, "kitchen") {
				if len(snapshot.Instances) == 0 {
					time.Sleep(700 * time.Millisecond) // busy acting on it
				}
			}
		}()
		synctest.Wait()
		begin := time.Now()
		snapshot := s.Deregister(key(instance("kitchen", 1)))
		if waiting := s.Await(ctx, "kitchen", snapshot.Revision, 2*time.Second); waiting != nil {
			t.Errorf("waited in vain for %v", waiting)
		}
		if d := time.Since(begin); d != 700*time.Millisecond {
			t.Errorf("waited %v, want until the router had acted", d)
		}
	})
}

func TestChangesReachAHundredWatchersWhileEverythingMoves(t *testing.T) {
	s := newStore(&probed{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const n = 200
	var watching sync.WaitGroup
	for i := range 100 {
		watching.Go(func() {
			var last uint64
			for snapshot, err := range s.Resolver(fmt.Sprint("w", i)).Watch(ctx, "kitchen") {
				if err != nil || last > snapshot.Revision {
					t.Errorf("revision %d after %d, %v", snapshot.Revision, last, err)
				}
				last = snapshot.Revision
				if len(snapshot.Instances) == n {
					return
				}
			}
			t.Error("ended before all instances were seen")
		})
	}
	for i := range n {
		go func() {
			register(t, s, time.Minute, instance("kitchen", i), instance("order", i))
			s.Renew(key(instance("kitchen", i)))
			s.Deregister(key(instance("order", i)))
		}()
	}
	watching.Wait()
}
