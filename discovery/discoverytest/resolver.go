// Package discoverytest holds a resolver whose content a test changes while its watchers follow.
package discoverytest

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/cleave-go/cleave/discovery"
)

// A Resolver is a discovery.Resolver in memory. The zero value knows no service and is ready for use; it
// is safe for concurrent use.
type Resolver struct {
	mu       sync.Mutex
	services map[string]*entry
}

type entry struct {
	snapshot discovery.Snapshot
	changed  chan struct{}
}

// Set replaces the instances of a service and wakes its watchers.
func (r *Resolver) Set(service string, instances ...discovery.Instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entry(service)
	list := slices.Clone(instances)
	for i := range list {
		list[i].Service = service
		if list[i].ID == "" {
			list[i].ID = list[i].Addr
		}
	}
	slices.SortFunc(list, func(a, b discovery.Instance) int { return strings.Compare(a.ID, b.ID) })
	e.snapshot.Instances = list
	e.snapshot.Revision++
	close(e.changed)
	e.changed = make(chan struct{})
}

// Watch implements discovery.Resolver.
func (r *Resolver) Watch(ctx context.Context, service string) iter.Seq2[discovery.Snapshot, error] {
	return func(yield func(discovery.Snapshot, error) bool) {
		for ctx.Err() == nil {
			r.mu.Lock()
			e := r.entry(service)
			snapshot, changed := e.snapshot, e.changed
			r.mu.Unlock()
			if !yield(snapshot, nil) {
				return
			}
			select {
			case <-ctx.Done():
			case <-changed:
			}
		}
	}
}

func (r *Resolver) entry(service string) *entry {
	if r.services == nil {
		r.services = map[string]*entry{}
	}
	e := r.services[service]
	if e == nil {
		e = &entry{snapshot: discovery.Snapshot{Service: service, Revision: 1}, changed: make(chan struct{})}
		r.services[service] = e
	}
	return e
}
