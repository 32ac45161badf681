package sqldb

import (
	"context"
	"sync"
	"sync/atomic"
)

// gate lets so many in at a time, in the order in which they come, or one alone.
type gate struct {
	slots   chan struct{} // full when all are in use
	alone   chan struct{} // full while somebody collects all slots
	waiting atomic.Int64
	most    int64
	once    sync.Once
	closed  chan struct{}
}

func newGate(slots, waiting int) *gate {
	return &gate{slots: make(chan struct{}, slots), alone: make(chan struct{}, 1), most: int64(waiting), closed: make(chan struct{})}
}

func (g *gate) enter(ctx context.Context) error {
	if g.isClosed() {
		return ErrClosed
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.most {
		return ErrBusy
	}
	return g.take(ctx, g.slots)
}

func (g *gate) leave() { <-g.slots }

// enterAlone waits until nobody else is inside.
func (g *gate) enterAlone(ctx context.Context) error {
	g.waiting.Add(1)
	defer g.waiting.Add(-1)
	if err := g.take(ctx, g.alone); err != nil {
		return err
	}
	for n := range cap(g.slots) {
		if err := g.take(ctx, g.slots); err != nil {
			g.free(n)
			<-g.alone
			return err
		}
	}
	return nil
}

func (g *gate) leaveAlone() {
	g.free(cap(g.slots))
	<-g.alone
}

func (g *gate) free(n int) {
	for range n {
		<-g.slots
	}
}

func (g *gate) take(ctx context.Context, from chan<- struct{}) error {
	select {
	case from <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-g.closed:
		return ErrClosed
	}
}

// close refuses those who come and those who wait, and returns when nobody is
// inside; false if it was closed before.
func (g *gate) close() (first bool) {
	g.once.Do(func() {
		first = true
		close(g.closed)
	})
	if first {
		for range cap(g.slots) {
			g.slots <- struct{}{}
		}
	}
	return first
}

func (g *gate) isClosed() bool {
	select {
	case <-g.closed:
		return true
	default:
		return false
	}
}
