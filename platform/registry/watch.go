package registry

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cleave-go/cleave/discovery"
)

// A Watcher hears of the changes of some services, or of all. One goroutine calls Next.
type Watcher struct {
	s        *Store
	id, name string
	services map[string]bool // nil: all
	passive  bool            // sends no calls to instances: nobody waits for it

	// Guarded by the store's mutex.
	dirty  map[string]bool // changed since the last Next
	acked  uint64
	signal chan struct{} // capacity 1: dirty is not empty
}

// Subscribe returns a watcher of the services named, or of all when none is. Name is for people. It must
// be closed.
func (s *Store) Subscribe(name string, services ...string) (*Watcher, error) {
	w := &Watcher{s: s, id: rand.Text(), name: name, dirty: map[string]bool{}, signal: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.watchers) >= maxWatchers {
		return nil, fmt.Errorf("watch: %w", ErrFull)
	}
	if len(services) == 0 {
		services = slices.Collect(maps.Keys(s.services))
	} else {
		w.services = map[string]bool{}
		for _, service := range services {
			w.services[service] = true
		}
	}
	for _, service := range services {
		w.mark(service)
	}
	w.wakeUp() // the first Next answers even with nothing to tell
	w.acked = s.revision
	s.watchers[w.id] = w
	for _, service := range w.index() {
		if s.watching[service] == nil {
			s.watching[service] = map[*Watcher]struct{}{}
		}
		s.watching[service][w] = struct{}{}
	}
	return w, nil
}

// index returns the entries of Store.watching the watcher belongs under, so that a change costs only
// those who asked for it.
func (w *Watcher) index() []string {
	if w.services == nil {
		return []string{""}
	}
	return slices.Collect(maps.Keys(w.services))
}

func (w *Watcher) mark(service string) {
	w.dirty[service] = true
	w.wakeUp()
}

func (w *Watcher) wakeUp() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// ID is what Ack is called with over a wire.
func (w *Watcher) ID() string { return w.id }

// Next waits for a change and returns the whole state of each service that changed since the call
// before, by name, and the revision to acknowledge. The first call returns the present state of all at
// once.
func (w *Watcher) Next(ctx context.Context) (revision uint64, changed []discovery.Snapshot, err error) {
	select {
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	case <-w.signal:
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(w.dirty)) {
		changed = append(changed, w.s.snapshot(name))
	}
	clear(w.dirty)
	return w.s.revision, changed, nil
}

// Ack says that everything up to revision is acted upon: no new call goes to an instance removed by then.
func (w *Watcher) Ack(revision uint64) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.acked = max(w.acked, min(revision, w.s.revision))
	w.s.announce()
}

// Close ends the watch; nobody waits for it any more.
func (w *Watcher) Close() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	delete(w.s.watchers, w.id)
	for _, service := range w.index() {
		if delete(w.s.watching[service], w); len(w.s.watching[service]) == 0 {
			delete(w.s.watching, service)
		}
	}
	w.s.announce()
}

// announce wakes those who wait for acknowledgements.
func (s *Store) announce() {
	close(s.acked)
	s.acked = make(chan struct{})
}

// ack is Ack by id; a watcher that ended meanwhile is no error.
func (s *Store) ack(id string, revision uint64) {
	s.mu.Lock()
	w := s.watchers[id]
	s.mu.Unlock()
	if w != nil {
		w.Ack(revision)
	}
}

// maxAwait bounds the drain barrier.
const maxAwait = 2 * time.Second

// Await is the drain barrier: it returns when every watcher of the service has acknowledged the revision
// or ended, or after d (2 s at most). It returns the names of those it waited for in vain.
func (s *Store) Await(ctx context.Context, service string, revision uint64, d time.Duration) (waiting []string) {
	ctx, cancel := context.WithTimeout(ctx, min(d, maxAwait))
	defer cancel()
	for {
		s.mu.Lock()
		waiting, next := s.behind(service, revision), s.acked
		s.mu.Unlock()
		if len(waiting) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return waiting
		case <-next:
		}
	}
}

func (s *Store) behind(service string, revision uint64) (names []string) {
	for _, name := range []string{service, ""} {
		for w := range s.watching[name] {
			if !w.passive && w.acked < revision {
				names = append(names, w.name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// WatcherState is what the store knows of a watcher.
type WatcherState struct {
	Name     string
	Services []string // empty: all
	Acked    uint64
}

// Watchers returns who follows what, by name.
func (s *Store) Watchers() []WatcherState {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []WatcherState
	for _, w := range s.watchers {
		if !w.passive {
			all = append(all, WatcherState{w.name, slices.Sorted(maps.Keys(w.services)), w.acked})
		}
	}
	slices.SortFunc(all, func(a, b WatcherState) int {
		if a.Name != b.Name {
			return strings.Compare(a.Name, b.Name)
		}
		return slices.Compare(a.Services, b.Services)
	})
	return all
}

// Resolver returns the store as a resolver within the process; its watches take part in the drain
// barrier under the name.
func (s *Store) Resolver(name string) discovery.Resolver { return resolver{s, name} }

type resolver struct {
	s    *Store
	name string
}

func (r resolver) Watch(ctx context.Context, service string) iter.Seq2[discovery.Snapshot, error] {
	return func(yield func(discovery.Snapshot, error) bool) {
		w, err := r.s.Subscribe(r.name, service)
		if err != nil {
			yield(discovery.Snapshot{Service: service}, err)
			return
		}
		defer w.Close()
		for {
			revision, changed, err := w.Next(ctx)
			if err != nil {
				return
			}
			for _, snapshot := range changed {
				if !yield(snapshot, nil) {
					return
				}
			}
			w.Ack(revision)
		}
	}
}
