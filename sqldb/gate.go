package sqldb

import (
	"context"
	"sync"
)

// gate lets transactions in, as many at a time as have been found not to thwart
// each other, the others in the order in which they come. Each that is thwarted
// halves their number, down to one; success lets it grow again.
type gate struct {
	mu      sync.Mutex
	slots   int     // at most
	limit   float64 // at present
	inside  int
	queue   []*atGate
	waiting int // at most
	closed  bool
	empty   chan struct{} // closed when nobody is inside after close
}

// atGate is one who waits: let in, or told why not, by the closing of decided.
type atGate struct {
	decided chan struct{}
	err     error
}

// successes is how many of them let one more in, for each that is let in now.
const successes = 8

func newGate(slots, waiting int) *gate {
	return &gate{slots: slots, limit: float64(slots), waiting: waiting, empty: make(chan struct{})}
}

// enter waits for a place; who was inside before and was thwarted comes first.
func (g *gate) enter(ctx context.Context, again bool) error {
	g.mu.Lock()
	switch {
	case g.closed:
		g.mu.Unlock()
		return ErrClosed
	case g.free() && (again || len(g.queue) == 0):
		g.inside++
		g.mu.Unlock()
		return nil
	case len(g.queue) >= g.waiting && !again:
		g.mu.Unlock()
		return ErrBusy
	}
	me := &atGate{decided: make(chan struct{})}
	if again {
		g.queue = append([]*atGate{me}, g.queue...)
	} else {
		g.queue = append(g.queue, me)
	}
	g.mu.Unlock()
	select {
	case <-me.decided:
		return me.err
	case <-ctx.Done():
		return g.giveUp(ctx, me)
	}
}

func (g *gate) free() bool { return g.inside < max(1, int(g.limit)) }

// giveUp takes me out of the queue, or leaves if it was let in meanwhile.
func (g *gate) giveUp(ctx context.Context, me *atGate) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-me.decided:
		if me.err == nil {
			g.inside--
			g.admit()
		}
	default:
		for i, w := range g.queue {
			if w == me {
				g.queue = append(g.queue[:i], g.queue[i+1:]...)
				break
			}
		}
	}
	return ctx.Err()
}

// leave makes room, for more than before if all went well and for less if the
// transaction was thwarted.
func (g *gate) leave(thwarted bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if thwarted {
		g.limit = max(1, g.limit/2)
	} else {
		g.limit = min(float64(g.slots), g.limit+1/(successes*g.limit))
	}
	g.admit()
}

func (g *gate) admit() {
	for len(g.queue) > 0 && g.free() {
		g.inside++
		close(g.queue[0].decided)
		g.queue[0] = nil
		g.queue = g.queue[1:]
	}
	if g.closed && g.inside == 0 {
		select {
		case <-g.empty:
		default:
			close(g.empty)
		}
	}
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue)
}

// close refuses those who come and those who wait, and returns when nobody is
// inside; false if it was closed before.
func (g *gate) close() (first bool) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return false
	}
	g.closed = true
	for _, w := range g.queue {
		w.err = ErrClosed
		close(w.decided)
	}
	g.queue = nil
	g.admit()
	g.mu.Unlock()
	<-g.empty
	return true
}

func (g *gate) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}
