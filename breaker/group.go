package breaker

import (
	"container/list"
	"fmt"
	"sync"
	"time"
)

// GroupOptions bounds a group. The zero value, like nil, means the defaults.
type GroupOptions struct {
	// MaxKeys is how many breakers are kept at most. One more drops the least recently used, sparing
	// open ones where it can. Default: 1024.
	MaxKeys int

	// Idle is after how long without use a breaker may be dropped. Default: 15 min.
	Idle time.Duration
}

// Group makes one breaker per key, such as a host or a method, on first use, and forgets those no longer
// used. All methods may be used concurrently.
type Group[K comparable] struct {
	opts    Options
	maxKeys int
	idle    time.Duration

	mu    sync.Mutex
	byKey map[K]*list.Element // of *member[K]; guarded by mu
	order *list.List          // most recently used first; guarded by mu
}

type member[K comparable] struct {
	key  K
	b    *Breaker
	used time.Time
}

// NewGroup returns an empty group whose breakers are all made with o. It fails with a sentence if an option is
// out of range.
func NewGroup[K comparable](o *Options, g *GroupOptions) (*Group[K], error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	var c GroupOptions
	if g != nil {
		c = *g
	}
	setDefault(&c.MaxKeys, 1024)
	setDefault(&c.Idle, 15*time.Minute)
	if c.MaxKeys < 1 || c.Idle < 0 {
		return nil, fmt.Errorf("breaker: a group of %d keys, idle after %v, cannot be kept", c.MaxKeys, c.Idle)
	}
	return &Group[K]{
		opts: opts, maxKeys: c.MaxKeys, idle: c.Idle,
		byKey: make(map[K]*list.Element), order: list.New(),
	}, nil
}

// Get returns the breaker of key; its name is key as fmt prints it. A breaker that was dropped keeps
// working for those who hold it, but Get makes a new one.
func (g *Group[K]) Get(key K) *Breaker {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if e, ok := g.byKey[key]; ok {
		m := e.Value.(*member[K])
		m.used = now
		g.order.MoveToFront(e)
		return m.b
	}
	g.makeRoom(now)
	m := &member[K]{key: key, b: newBreaker(fmt.Sprint(key), g.opts), used: now}
	g.byKey[key] = g.order.PushFront(m)
	return m.b
}

// Breakers returns the breakers kept at this moment, the most recently used first.
func (g *Group[K]) Breakers() []*Breaker {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*Breaker, 0, g.order.Len())
	for e := g.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*member[K]).b)
	}
	return all
}

// makeRoom drops up to two idle breakers, so that a group shrinks while it is used, and if there is still
// no room the oldest of the last few that is closed.
func (g *Group[K]) makeRoom(now time.Time) {
	for range 2 {
		if e := g.order.Back(); e != nil && now.Sub(e.Value.(*member[K]).used) > g.idle {
			g.drop(e)
		}
	}
	if g.order.Len() < g.maxKeys {
		return
	}
	victim := g.order.Back()
	for e, looked := victim, 0; e != nil && looked < 8; e, looked = e.Prev(), looked+1 {
		if e.Value.(*member[K]).b.phase.Load().state == Closed {
			victim = e
			break
		}
	}
	g.drop(victim)
}

func (g *Group[K]) drop(e *list.Element) {
	delete(g.byKey, e.Value.(*member[K]).key)
	g.order.Remove(e)
}
